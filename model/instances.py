"""From class maps to single objects. The definition is in README.md ("What an object is"); src must match it exactly."""
from __future__ import annotations

import numpy as np
from scipy import ndimage

CONNECTIVITY = 4
MIN_AREA = 40          # interior samples at the model's spacing
MAX_GROW = 8           # rounds of growth: a streamed label map sees no further than this past a band of rows


def objects_from_classes(classes, min_area=MIN_AREA):
    """[h, w] uint8 classes -> [h, w] int32 objects, numbered 1.. in raster order of their first interior sample."""
    interior = classes == 1
    labels, n = ndimage.label(interior)                              # scipy's default structure is 4-connected
    area = np.bincount(labels.ravel(), minlength=n + 1)
    keep = area >= min_area
    keep[0] = False
    renumber = np.zeros(n + 1, np.int32)
    renumber[keep] = np.arange(1, keep.sum() + 1)
    return grow(renumber[labels], classes == 2)


def grow(labels, into):
    """Rounds. In each, a free sample of `into` takes the label that its first labelled neighbour had before the round,
    in the order up, left, right, down. At most MAX_GROW rounds. Numbering never decides, so tiles and whole agree."""
    labels = np.pad(labels, 1)
    into = np.pad(into, 1)
    for _ in range(MAX_GROW):
        up, left, right, down = (np.roll(labels, s, a) for s, a in ((1, 0), (1, 1), (-1, 1), (-1, 0)))
        taken = np.where(up > 0, up, np.where(left > 0, left, np.where(right > 0, right, down)))
        new = into & (labels == 0) & (taken > 0)
        if not new.any():
            break
        labels[new] = taken[new]
    return labels[1:-1, 1:-1]
