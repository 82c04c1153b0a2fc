"""Pictures of several sets in one small file, for a machine that the sets themselves are too large for.

Pictures finer than the network's 0.25 µm are reduced to it; all are JPEG, so scores on them are not those of the stored pictures.
Entries: index.json, a list of samples; SPLIT/N.jpg; SPLIT/N.png, its label map of 16 bits (0: UNKNOWN, else instance + 1);
SPLIT/N.npy, the pixels of its slide, where it is a part of one.
"""
from __future__ import annotations

import io
import json
import os
import zipfile

import imageio.v3 as iio
import numpy as np

from tasks.nuclei_data import MODEL_MPP, Sample, as_scan

FIELDS = ("id", "kind", "group", "mpp", "set")


def write(path, splits, quality):
    """splits: name -> samples. Replaces `path` only when everything is written."""
    index = []
    with zipfile.ZipFile(f"{path}.part", "w", zipfile.ZIP_STORED) as archive:
        for split, samples in splits.items():
            for i, sample in enumerate(samples):
                name, small = f"{split}/{i}", as_scan(sample, max(MODEL_MPP, sample.mpp))
                index.append({"split": split, "name": name, "whole": sample.whole is not None, **{f: getattr(small, f) for f in FIELDS}})
                archive.writestr(f"{name}.jpg", iio.imwrite("<bytes>", small.pixels, extension=".jpg", quality=quality))
                archive.writestr(f"{name}.png", iio.imwrite("<bytes>", (small.instances + 1).astype(np.uint16), extension=".png"))
                if sample.whole is not None:
                    archive.writestr(f"{name}.npy", to_npy(sample.whole))
        archive.writestr("index.json", json.dumps(index))
    os.replace(f"{path}.part", path)


def to_npy(array):
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def read(split, path, limit=None, sets=("dsb2018",)):
    """Samples as load_split gives them. `limit`: of each set.
    @raises ValueError where the file has no picture of this split in these sets"""
    out = []
    with zipfile.ZipFile(path) as archive:
        index = json.loads(archive.read("index.json"))
        for name in sets:
            for entry in [e for e in index if e["split"] == split and e["set"] == name][:limit]:
                pixels = iio.imread(archive.read(f"{entry['name']}.jpg"))
                instances = iio.imread(archive.read(f"{entry['name']}.png")).astype(np.int32) - 1
                whole = np.load(io.BytesIO(archive.read(f"{entry['name']}.npy"))) if entry["whole"] else None
                out.append(Sample(**{f: entry[f] for f in FIELDS}, pixels=pixels, instances=instances, whole=whole))
    if not out:
        raise ValueError(f'{path} has no picture of the split "{split}" in {", ".join(sets)}')
    return out
