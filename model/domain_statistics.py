"""What a package's training pictures look like to its network, so that a run can tell a scan that is unlike all of them.

    python model/domain_statistics.py models/nuclei                   # write `domain` into models/nuclei/model.json
    python model/domain_statistics.py models/nuclei --compare val --sets dsb2018 tnbc  # print how far pictures are from it

Everything is of pixels as the network is fed them: normalised, at the model's spacing, clipped to [0, 1] before `scale` and
`offset`. Only the split `train` is read. For each kind of picture:

    luminance     mean histogram (32 bins over [0, 1]) of the mean of the channels; of a slice model, of the slice itself
    saturation    the same of the largest minus the smallest channel; left out where colour says nothing
    colour        mean of (channel - luminance), three numbers; left out likewise
    sharpness     ln(variance of the 4-neighbour Laplacian of luminance + 1e-8), mean over pictures

and to each a `reach`: the 99th percentile, over the training pictures, of a picture's distance to the mean, but at least FLOOR.
The distance of a scan (docs/format.md): the smallest over kinds of the largest, over features, of distance / reach. Histograms are
compared by the area between their cumulative sums (the earth mover's distance), colours by Euclid.
"""
from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

import numpy as np
import torch

import tasks

BINS = 32
QUANTILE = 99
FLOOR = {"luminance": 0.05, "saturation": 0.05, "colour": 0.05, "sharpness": 0.5}
FAR = 1.25          # above it a scan is unlike the training pictures


def histogram(x):
    return np.histogram(x, BINS, (0, 1))[0] / x.size


def features(x):
    """x [C, ..., h, w] in [0, 1]; C is 3 for colours, 1 for slices -> the features by name."""
    luminance = x.mean(0)
    inner = luminance[..., 1:-1, 1:-1]
    laplacian = 4 * inner - luminance[..., :-2, 1:-1] - luminance[..., 2:, 1:-1] - luminance[..., 1:-1, :-2] - luminance[..., 1:-1, 2:]
    out = {"luminance": histogram(luminance), "sharpness": np.log(laplacian.var() + 1e-8) if laplacian.size else np.log(1e-8)}
    if len(x) == 3:
        out["saturation"] = histogram(x.max(0) - x.min(0))
        out["colour"] = (x - luminance).reshape(3, -1).mean(1)
    return out


def apart(name, a, b):
    """The distance of one feature."""
    if name in ("luminance", "saturation"):
        return float(np.abs(np.cumsum(a) - np.cumsum(b)).sum() / BINS)
    return float(np.linalg.norm(np.asarray(a) - np.asarray(b)))


def average(rows):
    """Features of a scan from those of its windows, or of a kind from those of its pictures."""
    return {name: np.mean([r[name] for r in rows], 0) for name in rows[0]}


def span(values):
    return {"min": round(float(min(values)), 4), "max": round(float(max(values)), 4)}


def describe_kind(name, pictures):
    """pictures: dicts of `features`, `spacing` by axis, and `extent` by axis or `diameters` -> one entry of `kinds`."""
    rows = [p["features"] for p in pictures]
    mean = average(rows)
    kind = {"name": name, "pictures": len(pictures)}
    for feature in ("luminance", "saturation", "colour", "sharpness"):
        if feature in mean:
            reach = max(FLOOR[feature], float(np.percentile([apart(feature, r[feature], mean[feature]) for r in rows], QUANTILE)))
            rounded = np.round(mean[feature], 5).tolist()
            kind[feature] = {"mean": rounded, "reach": round(reach, 4)}
    kind["spacing"] = {axis: span([p["spacing"][axis] for p in pictures]) for axis in pictures[0]["spacing"]}
    if "extent" in pictures[0]:
        kind["extent"] = {axis: span([p["extent"][axis] for p in pictures]) for axis in pictures[0]["extent"]}
    diameters = np.concatenate([p.get("diameters", []) for p in pictures])
    if len(diameters):
        kind["objectDiameter"] = {"median": round(float(np.median(diameters)), 2), "p99": round(float(np.percentile(diameters, 99)), 2)}
    return kind


def describe(task, samples):
    """-> `domain` of model.json."""
    pictures = {}
    for sample in samples:
        for picture in task.domain_pictures(sample):        # none of a sample that holds only negatives
            x = picture.pop("pixels")
            found = features(x)
            if not picture.pop("coloured", True):
                found.pop("saturation", None), found.pop("colour", None)
            pictures.setdefault(picture.pop("kind"), []).append(picture | {"features": found})
    return {"modality": task.MODALITY, "bins": BINS, "kinds": [describe_kind(k, p) for k, p in pictures.items()]}


def distance(found, domain):
    """Features of a scan -> (distance, name of the nearest kind, the feature that is farthest from it)."""
    best = None
    for kind in domain["kinds"]:
        ratios = {n: apart(n, found[n], kind[n]["mean"]) / kind[n]["reach"] for n in FLOOR if n in kind and n in found}
        worst = max(ratios, key=ratios.get)
        if best is None or ratios[worst] < best[0]:
            best = (ratios[worst], kind["name"], worst)
    return best


def write(folder, domain):
    path = folder / "model.json"
    manifest = json.loads(path.read_text())
    manifest.pop("domain", None)
    at = list(manifest).index("defaultVariant")                 # before the variants, as package.py has it
    items = list(manifest.items())
    text = json.dumps(dict(items[:at] + [("domain", domain)] + items[at:]), indent=2) + "\n"
    path.with_suffix(".part").write_text(text)
    os.replace(path.with_suffix(".part"), path)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("package", type=Path)
    parser.add_argument("--sets", nargs="+", help="of the task's sets, those the network was trained on (nuclei; default dsb2018)")
    parser.add_argument("--data", help="the data set's folder")
    parser.add_argument("--compare", metavar="SPLIT", nargs="?", const="val", help="write nothing; print the distances of a split's pictures")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if not (args.package / "model.json").exists():
        sys.exit(f"There is no model.json in {args.package}.")
    manifest = json.loads((args.package / "model.json").read_text())
    try:
        task = tasks.load(manifest["name"])
        options = {"sets": tuple(args.sets)} if args.sets else {}
        samples = task.load_split(args.compare or "train", args.data, **options)
    except (ValueError, OSError) as e:
        sys.exit(str(e))
    if not args.compare:
        write(args.package, describe(task, samples))
        return
    if "domain" not in manifest:
        sys.exit(f"{args.package}/model.json holds no domain; write it first, without --compare.")
    rows = {}
    for sample in samples:
        for picture in task.domain_pictures(sample):
            key = f"{getattr(sample, 'set', '')} {picture['kind']}".strip()
            rows.setdefault(key, []).append(distance(features(picture["pixels"]), manifest["domain"]))
    for key, found in rows.items():
        values = np.array([d for d, _, _ in found])
        print(f"{key:28}{len(found):5} pictures, distance median {np.median(values):.2f}, least {values.min():.2f}, most {values.max():.2f}; "
              f"far {np.mean(values > FAR):.0%}")


if __name__ == "__main__":
    main()
