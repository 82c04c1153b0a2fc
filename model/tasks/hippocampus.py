"""MSD hippocampus: two parts of one structure in small MR volumes, slice by slice.

A picture is a slice of the stored array, y down its rows and x along its columns, brought to 0.5 mm in the plane; the network
sees it between its two neighbours along z (an edge slice stands in for the one that is missing). Every volume is brought to that
spacing once and kept in memory as float16, normalised but not yet clipped; crops are cut from there with one affine resampling each.
"""
from __future__ import annotations

import csv
import math
import os
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage

from metrics import dice, hd95, iou, means
from sliding import probabilities

NAME = "hippocampus"
CLASSES = ["background", "anterior", "posterior"]
CONTEXT = 1                        # neighbouring slices on each side
IN_CHANNELS = 2 * CONTEXT + 1
WINDOW = 128
DEFAULT_ROOT = Path(__file__).parents[3] / "shared" / "data" / "vol-msd-hippocampus"
MODEL_MM = 0.5
# Scanners' units differ by a factor of 4 000. Over 100 train volumes the median of the structure, so normalised, varies by 6 %
# (one standard deviation); with 99.8 instead of 99 it is 16 %, for the brightest vessel decides.
LOW, HIGH = 1.0, 99.0
SCALE, OFFSET = 2.0, -1.0          # the network is fed clip01(x) * SCALE + OFFSET
FOREGROUND_SHARE = 0.85            # crops from slices that hold either part; of the slices themselves it is 0.71
OUTSIDE = 255                      # in the quick validation: padding, not compared

DATA_OPTIONS = ()
SAMPLER_OPTIONS = ()

MODALITY = "MR"                    # DICOM's code

SCORES = {"dice": "Dice", "iou": "IoU", "hd95": "HD95 mm"}
PARTS = "structures"
DATASET, FIRST_SET, SETS = "MSD hippocampus", None, {}
LICENSE = """The weights in this folder are licensed under the Creative Commons Attribution-ShareAlike 4.0 International License
(CC BY-SA 4.0, https://creativecommons.org/licenses/by-sa/4.0/).

They were trained from scratch on volumes of Task04 Hippocampus of the Medical Segmentation Decathlon (medicaldecathlon.com;
Antonelli et al., "The Medical Segmentation Decathlon"; Simpson et al., arXiv 1902.09063), which is released under CC BY-SA 4.0.
The data was provided by Vanderbilt University Medical Center. No other weights or data went in. The code that made them is
licensed apart (see the LICENSE file of the repository).
"""
PACKAGE = {
    "license": "CC-BY-SA-4.0",
    "description": "Hippocampus in T1-weighted MR volumes cropped around it: background, anterior, posterior; slice by slice.",
    "trainingData": [{"name": "Medical Segmentation Decathlon, Task04 Hippocampus", "license": "CC-BY-SA-4.0",
                      "url": "http://medicaldecathlon.com"}],
    "classes": [{"name": n, "color": c} for n, c in zip(CLASSES, ("#000000", "#e8590c", "#1c7ed6"))],
    # "image" is the whole volume: one pair of percentiles for all its slices
    "input": {"axes": "yx", "channels": IN_CHANNELS, "orientation": "RAS", "dtype": "float32", "slices": {"axis": "z", "context": CONTEXT},
              "spacing": {"y": MODEL_MM, "x": MODEL_MM, "unit": "millimeter"}, "spacingTolerance": 0.1,
              "normalization": {"kind": "percentile", "low": LOW, "high": HIGH, "scope": "image", "joint": True, "clip": [0, 1],
                                "scale": SCALE, "offset": OFFSET}},
}


@dataclass
class Sample:
    id: str
    spacing: tuple          # mm between samples along z, y, x
    pixels: np.ndarray      # [Z, H, W] float32, as stored
    classes: np.ndarray     # [Z, H, W] uint8


def load_split(split, root=None, limit=None):
    """Samples of one split. `root` holds split.csv, images/ and labels/; by default the TILEWRIGHT_HIPPOCAMPUS_DATA folder."""
    root = Path(root or os.environ.get("TILEWRIGHT_HIPPOCAMPUS_DATA") or DEFAULT_ROOT)
    if not (root / "split.csv").exists():
        raise FileNotFoundError(f"no split.csv in {root}. Give the hippocampus folder with --data or TILEWRIGHT_HIPPOCAMPUS_DATA")
    with open(root / "split.csv") as f:
        files = [r["file"] for r in csv.DictReader(f) if r["split"] == split]
    if not files:
        raise ValueError(f'{root / "split.csv"} lists no volume in the split "{split}"')
    return [load_sample(root, name) for name in files[:limit]]


def load_sample(root, name):
    image, spacing = read_volume(root / "images" / name)
    labels, _ = read_volume(root / "labels" / name)
    if labels.shape != image.shape:
        raise ValueError(f"{root / 'labels' / name} is {labels.shape}, its volume is {image.shape} (z, y, x)")
    if not np.isfinite(image).all():
        raise ValueError(f"{root / 'images' / name} holds {int((~np.isfinite(image)).sum())} samples that are not finite numbers")
    found = np.unique(labels)
    if not np.isin(found, range(len(CLASSES))).all():
        raise ValueError(f"{root / 'labels' / name} holds the classes {found.tolist()}; "
                         f"expected 0 to {len(CLASSES) - 1} ({', '.join(CLASSES)})")
    return Sample(name.removesuffix(".nii.gz"), spacing, image, labels.astype(np.uint8))


def read_volume(path):
    """NIfTI stores x, y, z: -> [Z, H, W] float32 and the spacing along z, y, x in mm."""
    try:
        file = nib.load(path)
    except nib.filebasedimages.ImageFileError as e:
        raise ValueError(f"{path} is not a NIfTI file: {e}") from e
    array = np.asarray(file.dataobj, np.float32)
    if array.ndim != 3:
        raise ValueError(f"{path} has {array.ndim} axes {array.shape}; a volume has three")
    return np.ascontiguousarray(array.transpose(2, 1, 0)), tuple(float(s) for s in file.header.get_zooms()[::-1])


def percentile_range(pixels):
    """lo, hi over the whole volume (numpy's linear interpolation); never equal."""
    lo, hi = np.percentile(pixels, [LOW, HIGH])
    return float(lo), float(hi if hi > lo else lo + 1)


def normalise(pixels, lo, hi):
    return (pixels.astype(np.float32) - np.float32(lo)) / np.float32(hi - lo)


def model_size(shape, spacing):
    """Rows and columns, at MODEL_MM, of a volume [Z, H, W]."""
    return tuple(max(1, round(n * mm / MODEL_MM)) for n, mm in zip(shape[1:], spacing[1:]))


def to_model_spacing(x, spacing):
    """[Z, H, W] float32 -> [Z, h, w] at MODEL_MM in the plane. Bilinear; an area filter is added when shrinking."""
    return F.interpolate(torch.from_numpy(x)[None], model_size(x.shape, spacing), mode="bilinear", antialias=True)[0]


def classes_to_size(classes, h, w):
    """[Z, H, W] uint8 -> [Z, h, w] uint8. Each class's mask is interpolated and the largest share wins, so an outline gets
    smoother, and between two classes no third appears, as interpolating the numbers would have it."""
    masks = torch.from_numpy(classes)[:, None] == torch.arange(len(CLASSES)).view(-1, 1, 1)         # (Z, K, H, W)
    return F.interpolate(masks.float(), (h, w), mode="bilinear", antialias=True).argmax(1).to(torch.uint8)


def neighbours(x, z):
    """[Z, h, w] -> [2 * CONTEXT + 1, h, w]: the slices from z - CONTEXT to z + CONTEXT, an edge slice repeated."""
    return x[[min(max(z + d, 0), len(x) - 1) for d in range(-CONTEXT, CONTEXT + 1)]]


def model_volume(sample):
    """The whole volume as the network is fed it: [Z, h, w] float32."""
    x = to_model_spacing(normalise(sample.pixels, *percentile_range(sample.pixels)), sample.spacing)
    return x.clamp(0, 1) * SCALE + OFFSET


def domain_pictures(sample):
    """What domain_statistics.py reads of a volume."""
    axes = dict(zip("zyx", sample.spacing))
    yield {"kind": "T1-weighted MR", "pixels": (model_volume(sample).numpy()[None] - OFFSET) / SCALE, "spacing": axes,
           "extent": {a: n * mm for (a, mm), n in zip(axes.items(), sample.pixels.shape)}}


class Sampler:
    """Endless random crops, volumes in equal shares. `batch(n)` -> pixels [n,3,S,S], classes [n,S,S], weights [n,S,S]: 1 on the
    picture, 0 on the reflections around it, which are cut off at inference. `plain`: share of crops that keep their intensities."""

    def __init__(self, samples, size=WINDOW, seed=0, plain=0.0):
        self.size, self.rng, self.plain = size, np.random.default_rng(seed), plain
        self.samples = []
        for s in samples:
            x = to_model_spacing(normalise(s.pixels, *percentile_range(s.pixels)), s.spacing)
            filled = np.flatnonzero(s.classes.any((1, 2)))
            self.samples.append((x.half(), classes_to_size(s.classes, *x.shape[1:]), filled))

    def batch(self, n):
        crops = [self.crop() for _ in range(n)]
        return tuple(torch.stack(part) for part in zip(*crops))

    def crop(self):
        rng = self.rng
        x, classes, filled = self.samples[rng.integers(len(self.samples))]
        z = rng.choice(filled) if len(filled) and rng.random() < FOREGROUND_SHARE else rng.integers(len(x))
        yy, xx = crop_coordinates(rng, *x.shape[1:], self.size)
        x, classes, inside = cut(neighbours(x, z), classes[z], yy, xx)
        x = augment_intensity(x, rng) if rng.random() >= self.plain else x.clamp(0, 1)
        return x * SCALE + OFFSET, classes, inside.float()


def crop_coordinates(rng, h, w, S):
    """Where in an h x w picture each sample of a crop comes from: yy, xx [S, S].

    Mirrored along x only: that is the other side's hippocampus. Along y it would swap anterior and posterior.
    """
    scale = math.exp(rng.uniform(math.log(0.8), math.log(1.25)))
    sy, sx = scale * math.exp(rng.uniform(-0.08, 0.08)), scale * math.exp(rng.uniform(-0.08, 0.08))
    angle = math.radians(rng.uniform(-20, 20)) if rng.random() < 0.7 else 0.0
    shear = rng.uniform(-0.12, 0.12) if rng.random() < 0.3 else 0.0
    flip = -1 if rng.random() < 0.5 else 1
    # a picture smaller than the window sits near its middle, as it does at inference; a larger one is cut anywhere
    cy, cx = ((n - 1) / 2 + rng.uniform(-1, 1) * max(8.0, (n * s - S) / 2) / s for n, s in ((h, sy), (w, sx)))
    g = torch.arange(S, dtype=torch.float32) - (S - 1) / 2
    gy, gx = g[:, None] / sy, g[None, :] * flip / sx
    gy = gy + shear * gx
    c, s = math.cos(angle), math.sin(angle)
    yy, xx = cy + c * gy - s * gx, cx + s * gy + c * gx
    if rng.random() < 0.3:                                 # elastic: a few samples, smooth over a quarter of the window
        bend = torch.from_numpy(rng.normal(0, rng.uniform(0.5, 2.0), (1, 2, 5, 5))).float()
        bend = F.interpolate(bend, (S, S), mode="bicubic", align_corners=True)[0]
        yy, xx = yy + bend[0], xx + bend[1]
    return yy, xx


def cut(x, classes, yy, xx):
    """x [C, h, w], classes [h, w] at the coordinates yy, xx [S, S] -> x [C, S, S] float32, classes [S, S] int64, inside [S, S] bool.

    Outside the picture both are reflected about the middle of the edge samples, as numpy's "reflect" does in sliding.py. The
    classes travel as masks beside the slices, so that no number between two classes can arise.
    """
    h, w = classes.shape
    masks = torch.stack([classes == k for k in range(1, len(CLASSES))])
    grid = torch.stack([2 * xx / max(w - 1, 1) - 1, 2 * yy / max(h - 1, 1) - 1], -1)[None]
    both = torch.cat([x.float(), masks.float()])[None]
    both = F.grid_sample(both, grid, mode="bilinear", padding_mode="reflection", align_corners=True)[0]
    shares = both[len(x):]
    shares = torch.cat([1 - shares.sum(0, keepdim=True), shares])
    inside = (yy > -0.5) & (yy < h - 0.5) & (xx > -0.5) & (xx < w - 0.5)
    return both[:len(x)], shares.argmax(0), inside


def augment_intensity(x, rng):
    """x [C, S, S], normalised and not clipped -> the same in [0, 1]: other scanners, coils, resolutions. One draw for all slices."""
    def chance(p):
        return rng.random() < p

    size = x.shape[1:]
    if chance(0.5):                                        # the percentiles of another field of view
        x = (x - rng.uniform(-0.08, 0.08)) * math.exp(rng.uniform(-0.2, 0.2))
    x = x.clamp(0, 1)
    if chance(0.4):
        x = x ** math.exp(rng.uniform(-0.4, 0.4))
    if chance(0.4):
        m = x.mean()
        x = m + (x - m) * rng.uniform(0.65, 1.35) + rng.uniform(-0.1, 0.1)
    if chance(0.25):                                       # uneven coil sensitivity
        low = torch.from_numpy(rng.uniform(-0.3, 0.3, (1, 1, 3, 3))).float()
        x = x * F.interpolate(low, size, mode="bicubic", align_corners=True)[0].exp()
    if chance(0.2):                                        # a coarser acquisition, interpolated
        coarse = [max(2, round(n * rng.uniform(0.3, 0.8))) for n in size]
        x = F.interpolate(F.interpolate(x[None], coarse, mode="bilinear", antialias=True), size, mode="bilinear")[0]
    elif chance(0.2):
        x = torch.from_numpy(ndimage.gaussian_filter(x.numpy(), (0, *[rng.uniform(0.4, 1.5)] * 2), truncate=3))
    if chance(0.3):
        x = x + torch.from_numpy(rng.standard_normal(x.shape, np.float32)) * float(rng.uniform(0.01, 0.08))
    return x.clamp(0, 1)


def fit_window(x, size, outside=None):
    """[Z, h, w] -> [Z, S, S] around the middle: cut where larger; where smaller reflected as sliding.py does, or filled with `outside`."""
    for axis in (1, 2):
        over = x.shape[axis] - size
        if over > 0:
            x = x.take(range(over // 2, over // 2 + size), axis)
    pad = [(0, 0), *((short // 2, short - short // 2) for short in (size - n for n in x.shape[1:]))]
    return np.pad(x, pad, "reflect") if outside is None else np.pad(x, pad, constant_values=outside)


class QuickValidation:
    """Dice of each part over every second slice of each volume, in one centred window at the model's spacing; means over volumes.

    Half the slices say nearly as much as all of them, and a volume's Dice is over the slices together, as evaluate's is.
    """

    STEP = 2
    BATCH = 16

    def __init__(self, samples, size=WINDOW):
        self.volumes = []
        for s in samples:
            x = model_volume(s)
            classes = classes_to_size(s.classes, *x.shape[1:])
            truth = fit_window(classes.numpy(), size, OUTSIDE)[::self.STEP]
            self.volumes.append((torch.from_numpy(fit_window(x.numpy(), size)).half(), truth))

    def __len__(self):
        return len(self.volumes)

    def __call__(self, model_fn):
        scores = {name: [] for name in CLASSES[1:]}
        for x, truth in self.volumes:
            slices = range(0, len(x), self.STEP)
            predicted = np.concatenate([
                model_fn(torch.stack([neighbours(x, z) for z in slices[i:i + self.BATCH]]).float()).argmax(1).to(torch.uint8).cpu().numpy()
                for i in range(0, len(slices), self.BATCH)])
            predicted[truth == OUTSIDE] = 0
            for k, name in enumerate(CLASSES[1:], 1):
                scores[name].append(dice(predicted == k, truth == k))
        parts = {name: mean(values) for name, values in scores.items()}
        return {"dice": mean(list(parts.values())), **parts}


def mean(values):
    """Over those that are not NaN; NaN when all are."""
    values = [v for v in values if not math.isnan(v)]
    return float(np.mean(values)) if values else math.nan


def predict(run, sample, window=WINDOW, overlap=0.25):
    """-> classes [Z, H, W] uint8 on the volume's own grid. Probabilities are interpolated back, then the largest wins."""
    x = model_volume(sample).numpy()
    out = np.zeros(sample.classes.shape, np.uint8)
    for z in range(len(x)):
        p = probabilities(run, neighbours(x, z), window, overlap)
        native = F.interpolate(torch.from_numpy(p)[None], out.shape[1:], mode="bilinear", antialias=True)[0]
        out[z] = native.argmax(0).numpy()
    return out


def score(sample, predicted):
    """3-D scores of each part, and their means over the parts (an infinite HD95 stays infinite)."""
    parts = {}
    for k, name in enumerate(CLASSES[1:], 1):
        p, t = predicted == k, sample.classes == k
        parts[name] = {"dice": dice(p, t), "iou": iou(p, t), "hd95": hd95(p, t, sample.spacing)}
    return {"id": sample.id, **{key: mean([part[key] for part in parts.values()]) for key in SCORES}, "structures": parts}


def evaluate(run, samples, progress=None, window=WINDOW):
    """`run` maps float32 [N, 3, S, S] to logits [N, K, S, S]. Scores are of whole volumes; means are over volumes."""
    rows = []
    for s in samples:
        rows.append(score(s, predict(run, s, window)))
        if progress:
            progress(rows)
    structures = {name: means([r["structures"][name] for r in rows], SCORES) for name in CLASSES[1:]}
    return {**means(rows, SCORES), "structures": structures, "perImage": rows}


def golden_input(size):
    """Three made slices [1, S, S, 3] uint8 that look a little like the data (which is not ours to ship here): a dim head-and-tail
    shape in brighter tissue, dark fluid beside it, noise."""
    rng = np.random.default_rng(1902)
    y, x = np.mgrid[0:size, 0:size] / size
    low = ndimage.zoom(rng.normal(0, 0.06, (6, 6)), size / 6, order=3, grid_mode=True, mode="nearest")
    slices = []
    for shift in (-0.015, 0.0, 0.015):
        def soft(cy, cx, a, b, angle):
            u = (x - cx - shift) * np.cos(angle) + (y - cy - shift) * np.sin(angle)
            v = (y - cy - shift) * np.cos(angle) - (x - cx - shift) * np.sin(angle)
            return 1 / (1 + np.exp(7 * (np.sqrt((u / a) ** 2 + (v / b) ** 2) - 1)))
        field = 0.6 + low
        field = field + (0.12 - field) * np.maximum(soft(0.45, 0.68, 0.05, 0.24, 0.3), soft(0.7, 0.35, 0.10, 0.04, 0.5))
        grey = np.maximum(soft(0.62, 0.47, 0.13, 0.11, 0.2), soft(0.40, 0.53, 0.06, 0.2, -0.15))
        field = field + (0.40 - field) * grey
        slices.append(np.clip(field + rng.normal(0, 0.03, field.shape), 0, 1))
    return (np.stack(slices, -1) * 255).round().astype(np.uint8)[None]
