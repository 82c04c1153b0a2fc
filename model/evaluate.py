"""Scores of ONNX files on a split, over whole pictures with sliding windows.

    python model/evaluate.py models/nuclei [--fp32 runs/nuclei/nuclei-fp32.onnx] [--split val] [--json scores.json]
    python model/evaluate.py some.onnx other.onnx

Pixel scores: foreground (interior or boundary) against any nucleus, at the picture's own resolution, mean over pictures.
Objects: README.md, "What an object is"; compared at the picture's own resolution. Empty-class rules: metrics.py.
"""
from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

import numpy as np
import onnxruntime as ort
import torch
import torch.nn.functional as F

import data as D
from instances import objects_from_classes
from metrics import aji, dice, f1_at, hd95, iou
from sliding import probabilities

NAMES = ("dice", "iou", "aji", "f1At50", "hd95")


def open_session(path, threads=0):
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda x: session.run(["logits"], {"pixels": np.ascontiguousarray(x, np.float32)})[0]


def predict(run, sample, overlap=0.25):
    """-> classes at the picture's resolution, objects at the picture's resolution."""
    lo, hi = D.percentile_range(sample.pixels)
    x = D.normalise(D.to_model_spacing(sample.pixels.astype(np.float32), sample.mpp).numpy(), lo, hi).clip(0, 1) * D.SCALE + D.OFFSET
    p = probabilities(run, x, overlap=overlap)
    objects = objects_from_classes(p.argmax(0).astype(np.uint8))
    H, W = sample.instances.shape
    native = F.interpolate(torch.from_numpy(p)[None], (H, W), mode="bilinear", antialias=True)[0]
    return native.argmax(0).numpy().astype(np.uint8), D.labels_to_size(objects, H, W)


def score(sample, classes, objects):
    truth = sample.instances
    return {"id": sample.id, "kind": sample.kind, "dice": dice(classes > 0, truth > 0), "iou": iou(classes > 0, truth > 0),
            "aji": aji(objects, truth), "f1At50": f1_at(objects, truth), "hd95": hd95(classes > 0, truth > 0, (sample.mpp, sample.mpp))}


def summarise(rows):
    out = {"images": len(rows)}
    for name in NAMES:
        values = np.array([r[name] for r in rows], float)
        finite = values[np.isfinite(values)]
        out[name] = round(float(finite.mean()), 4) if len(finite) else None
        if np.isinf(values).any():
            out[name + "Infinite"] = int(np.isinf(values).sum())
    return out


def evaluate(path, samples, threads=0, progress=None):
    run, rows, began = open_session(path, threads), [], time.time()
    for s in samples:
        rows.append(score(s, *predict(run, s)))
        if progress:
            progress(rows)
    kinds = {k: summarise([r for r in rows if r["kind"] == k]) for k in sorted({r["kind"] for r in rows})}
    return {"file": Path(path).name, **summarise(rows), "seconds": round(time.time() - began, 1), "kinds": kinds, "perImage": rows}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("models", nargs="+", help="ONNX files or package directories")
    parser.add_argument("--fp32", help="a float32 ONNX file to score beside the package's own variants")
    parser.add_argument("--split", default="val")
    parser.add_argument("--data", default=os.environ.get("TILEWRIGHT_NUCLEI_DATA"))
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--limit", type=int, help="only the first N pictures")
    parser.add_argument("--json", help="write everything, per picture, here")
    args = parser.parse_args()
    torch.set_num_threads(args.threads or os.cpu_count())
    files = [args.fp32] if args.fp32 else []
    for m in map(Path, args.models):
        if m.is_dir():
            variants = json.loads((m / "model.json").read_text())["variants"]
            files += [m / v["files"][0]["path"] for v in variants.values()]
        else:
            files.append(m)
    samples = D.load_split(args.split, args.data, args.limit)
    results = []
    for f in files:
        r = evaluate(f, samples, args.threads)
        results.append(r)
        print(f"\n{f}  ({args.split}, {r['seconds']} s)")
        print(f"{'':18}{'images':>7}{'Dice':>9}{'IoU':>9}{'AJI':>9}{'F1@0.5':>9}{'HD95 µm':>9}")
        for name, s in [("all", r), *r["kinds"].items()]:
            print(f"{name:18}{s['images']:7}" + "".join(f"{s[k]:9.4f}" if s[k] is not None else f"{'-':>9}" for k in NAMES)
                  + (f"  (+{s['hd95Infinite']} without any prediction)" if "hd95Infinite" in s else ""))
    if args.json:
        Path(args.json).write_text(json.dumps({"split": args.split, "results": results}, indent=1))
