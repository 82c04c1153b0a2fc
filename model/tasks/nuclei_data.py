"""Pictures of nuclei with their instances: the sets, loading, normalising, spacing, targets."""
from __future__ import annotations

import csv
import os
from dataclasses import dataclass, replace
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage

WINDOW = 224
MODEL = Path(__file__).parent.parent
DEFAULT_ROOT = MODEL.parent.parent / "shared" / "data" / "nuclei-dsb2018"
MODEL_MPP = 0.25
UNKNOWN_MPP = 0.5
LOW, HIGH = 1.0, 99.8
SCALE, OFFSET = 2.0, -1.0          # the network is fed clip01(x) * SCALE + OFFSET
BACKGROUND, INTERIOR, BOUNDARY = 0, 1, 2
UNKNOWN = -1                       # instead of an instance's number: nobody has looked
RIM = 2                            # model samples of an instance's edge that count as boundary


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
    # Rectangles without nuclei on the slides of configs/nuclei_negatives.csv; train only
    "negatives": DataSet("slides", None, brightfield=True),
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
    whole: np.ndarray | None = None     # [n, 3] pixels spread over the slide it was cut from; None: it is the whole picture


def load_split(split, root=None, limit=None, sets=("dsb2018",)):
    """Samples of one split. `root` holds split.csv, images/ and labels/ of one set, or the folders of several; by default the
    TILEWRIGHT_NUCLEI_DATA folder and those beside it. `limit`: of each set."""
    unknown = [s for s in sets if s not in SETS]
    if unknown:
        raise ValueError(f"no set of nuclei is called {', '.join(unknown)}; there are {', '.join(SETS)}")
    samples = []
    for name in sets:
        folder = set_folder(name, sets, root)
        samples += negatives(split, folder) if name == "negatives" else load_set(name, split, folder, limit)
    return samples


def set_folder(name, sets, root=None):
    """`root` is the folder of several sets, or of the one that is asked for, or of another beside it."""
    root, folder = Path(root or os.environ.get("TILEWRIGHT_NUCLEI_DATA") or DEFAULT_ROOT), SETS[name].folder
    if (root / folder).is_dir():
        return root / folder
    others = {s.folder for s in SETS.values()} - {folder}
    return root if len(sets) == 1 and root.name not in others else root.parent / folder


def sets_present(root=None):
    """The annotated sets that are there; at least one is named, so that what is missing can be said."""
    every = [name for name in SETS if name != "negatives"]
    return [n for n in every if (set_folder(n, every, root) / "split.csv").exists()] or ["dsb2018"]


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


def negatives(split, folder):
    """Samples without a nucleus, each normalised as its slide is: they teach what is none."""
    if split != "train":
        return []
    with open(MODEL / "configs" / "nuclei_negatives.csv") as f:
        rows = list(csv.DictReader(line for line in f if not line.startswith("#")))
    slides, out = {}, []
    for i, r in enumerate(rows):
        if r["file"] not in slides:
            slide = read_slide(folder / r["file"])
            tissue = slide[(slide.min(-1) < 220) & (slide.min(-1) > 0)]
            slides[r["file"]] = slide, tissue[np.random.default_rng(0).integers(len(tissue), size=20000)]
        slide, whole = slides[r["file"]]
        x, y, w, h = (int(r[k]) for k in ("x", "y", "width", "height"))
        side = int(1.5 * WINDOW * MODEL_MPP / float(r["mpp"]))               # what is around it is seen too, and left open
        x0, x1 = max(0, min(x, x + (w - side) // 2)), min(slide.shape[1], max(x + w, x + (w + side) // 2))
        y0, y1 = max(0, min(y, y + (h - side) // 2)), min(slide.shape[0], max(y + h, y + (h + side) // 2))
        instances = np.full((y1 - y0, x1 - x0), UNKNOWN, np.int32)
        instances[y - y0:y - y0 + h, x - x0:x - x0 + w] = 0
        # a fifth of what a run looks at is glass
        whole = np.concatenate([whole, np.full((len(whole) // 4, 3), np.percentile(slide, 95), np.uint8)])
        pixels = np.ascontiguousarray(slide[y0:y1, x0:x1])
        out.append(Sample(f"{i}", r["what"], f"negatives/{i}", float(r["mpp"]), pixels, instances, "negatives", whole))
    return out


def read_slide(path):
    """Level 0 as [H, W, 3] uint8: small slides only."""
    if path.suffix == ".tif":
        import tifffile
        array = tifffile.imread(path)
        return np.ascontiguousarray((array if array.shape[-1] == 3 else array.transpose(1, 2, 0))[..., :3])
    import openslide
    slide = openslide.OpenSlide(str(path))
    return np.ascontiguousarray(np.asarray(slide.read_region((0, 0), 0, slide.level_dimensions[0]))[..., :3])


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


def as_scan(sample, mpp, quality=None):
    """The sample as a scanner with pixels of `mpp` micrometres stores it, as JPEG of this quality; labels by nearest neighbour."""
    h, w = (max(1, round(n * sample.mpp / mpp)) for n in sample.instances.shape)
    t = torch.from_numpy(sample.pixels.astype(np.float32)).permute(2, 0, 1)[None]
    small = F.interpolate(t, (h, w), mode="bilinear", antialias=True)[0].permute(1, 2, 0)
    pixels = small.round().clamp(0, 255).to(torch.uint8).numpy()
    if quality is not None:
        pixels = iio.imread(iio.imwrite("<bytes>", pixels, extension=".jpg", quality=quality))
    return replace(sample, pixels=pixels, instances=labels_to_size(sample.instances, h, w), mpp=mpp)


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
