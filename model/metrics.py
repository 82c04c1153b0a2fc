"""Scores, with their empty-class rules. Everything takes numpy arrays of one image; `means` averages images."""
from __future__ import annotations

import math

import numpy as np
from scipy import ndimage


def dice(predicted, truth):
    """2|P∩T| / (|P|+|T|) of two masks. Both empty: NaN (the image says nothing about the class; take nanmean).
    Exactly one empty: 0, never 1."""
    total = int(predicted.sum()) + int(truth.sum())
    return math.nan if total == 0 else 2 * int((predicted & truth).sum()) / total


def iou(predicted, truth):
    """|P∩T| / |P∪T|, with dice's empty rules."""
    union = int((predicted | truth).sum())
    return math.nan if union == 0 else int((predicted & truth).sum()) / union


def overlaps(predicted, truth):
    """Intersections of two instance maps: (areaP [nP], areaT [nT], inter [nP, nT]); ids need not be contiguous."""
    p_ids, p = np.unique(predicted, return_inverse=True)
    t_ids, t = np.unique(truth, return_inverse=True)
    p, t = p.ravel(), t.ravel()
    inter = np.bincount(p * len(t_ids) + t, minlength=len(p_ids) * len(t_ids)).reshape(len(p_ids), len(t_ids))
    area_p, area_t = inter.sum(1), inter.sum(0)
    kp, kt = p_ids != 0, t_ids != 0
    return area_p[kp], area_t[kt], inter[kp][:, kt]


def f1_at(predicted, truth, threshold=0.5):
    """2TP / (nP + nT); a pair matches when its IoU is above the threshold. At 0.5 and above a match is unique, so
    nothing has to be assigned. No object in either: NaN. In exactly one: 0."""
    if threshold < 0.5:
        raise ValueError(f"threshold {threshold} is below 0.5: matches would not be unique")
    area_p, area_t, inter = overlaps(predicted, truth)
    if len(area_p) + len(area_t) == 0:
        return math.nan
    if len(area_p) == 0 or len(area_t) == 0:
        return 0.0
    ratio = inter / (area_p[:, None] + area_t[None] - inter)
    return 2 * int((ratio > threshold).sum()) / (len(area_p) + len(area_t))


def aji(predicted, truth):
    """Aggregated Jaccard index (Kumar et al. 2017): each true object pairs with the predicted object of the highest IoU;
    sum of intersections over sum of unions plus the areas of predicted objects never paired. A true object that touches
    nothing adds its area to the denominator. Empty rules as f1_at."""
    area_p, area_t, inter = overlaps(predicted, truth)
    if len(area_p) + len(area_t) == 0:
        return math.nan
    if len(area_p) == 0 or len(area_t) == 0:
        return 0.0
    union = area_p[:, None] + area_t[None] - inter
    best = (inter / union).argmax(0)
    cols = np.arange(len(area_t))
    hit = inter[best, cols] > 0
    numerator = inter[best, cols][hit].sum()
    denominator = union[best, cols][hit].sum() + area_t[~hit].sum()
    used = np.zeros(len(area_p), bool)
    used[best[hit]] = True
    return float(numerator / (denominator + area_p[~used].sum()))


def fragments(predicted, truth):
    """Predicted objects per true object that has any: an object belongs to the true one that holds more than half of it. 1 when
    nothing falls into pieces, whatever is missed or found beside. NaN when no predicted object belongs to a true one."""
    area_p, area_t, inter = overlaps(predicted, truth)
    if len(area_p) == 0 or len(area_t) == 0:
        return math.nan
    pieces = (2 * inter > area_p[:, None]).sum(0)
    return float(pieces.sum() / (pieces > 0).sum()) if pieces.any() else math.nan


def hd95(predicted, truth, spacing):
    """95th percentile of the symmetric surface distances, in the unit of `spacing` (per axis, micrometres or mm).

    Surface: mask samples with a 4-neighbour (6 in 3-D) outside the mask; beyond the border counts as outside. Distances
    of both directions are pooled before the percentile. Both empty: NaN. Exactly one empty: inf, so that a mean shows it.
    """
    if not predicted.any() and not truth.any():
        return math.nan
    if not predicted.any() or not truth.any():
        return math.inf
    a, b = (m & ~ndimage.binary_erosion(m) for m in (predicted, truth))
    to_b = ndimage.distance_transform_edt(~b, spacing)[a]
    to_a = ndimage.distance_transform_edt(~a, spacing)[b]
    return float(np.percentile(np.concatenate([to_b, to_a]), 95))


def means(rows, names):
    """One score dict per image -> {"images": n, name: mean over the finite values or None, name + "Infinite": how many were}."""
    out = {"images": len(rows)}
    for name in names:
        values = np.array([r[name] for r in rows], float)
        finite = values[np.isfinite(values)]
        out[name] = round(float(finite.mean()), 4) if len(finite) else None
        if np.isinf(values).any():
            out[name + "Infinite"] = int(np.isinf(values).sum())
    return out
