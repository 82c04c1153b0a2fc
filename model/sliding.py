"""Sliding windows over one picture, the way the pipeline runs them (MONAI policy and gaussian weights; see README.md)."""
from __future__ import annotations

import numpy as np


def starts(n, window, overlap):
    """MONAI: interval trunc(window * (1 - overlap)), the last window shifted to end at n."""
    if n <= window:
        return [0]
    interval = max(1, int(window * (1 - overlap)))
    count = -(-(n - window) // interval) + 1
    return [min(i * interval, n - window) for i in range(count)]


def gaussian(window):
    """MONAI: sigma = window / 8 about (n-1)/2, peak not normalised, clamped to at least 1e-3 (or the map's own minimum)."""
    x = np.arange(window, dtype=np.float64) - (window - 1) / 2
    g = np.exp(-x * x / (2 * (0.125 * window) ** 2))
    m = np.outer(g, g)
    return np.maximum(m, max(m.min(), 1e-3)).astype(np.float32)


def softmax(logits):
    e = np.exp(logits - logits.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def probabilities(run, pixels, window=224, overlap=0.25, batch=4):
    """pixels [C, h, w] float32 -> merged probabilities [K, h, w]; `run` maps [N,C,S,S] to logits [N,K,S,S].

    Reflect padding, centred, only where the picture is smaller than a window.
    """
    C, h, w = pixels.shape
    pad = [(max(0, window - n) // 2, max(0, window - n) - max(0, window - n) // 2) for n in (h, w)]
    x = np.pad(pixels, [(0, 0), *pad], "reflect") if any(map(any, pad)) else pixels
    places = [(y, z) for y in starts(x.shape[1], window, overlap) for z in starts(x.shape[2], window, overlap)]
    weight = gaussian(window)
    total, weights = None, np.zeros(x.shape[1:], np.float32)
    for i in range(0, len(places), batch):
        part = places[i:i + batch]
        p = softmax(run(np.stack([x[:, y:y + window, z:z + window] for y, z in part])))
        if total is None:
            total = np.zeros((p.shape[1], *x.shape[1:]), np.float32)
        for (y, z), q in zip(part, p):
            total[:, y:y + window, z:z + window] += q * weight
            weights[y:y + window, z:z + window] += weight
    total /= weights
    return total[:, pad[0][0]:pad[0][0] + h, pad[1][0]:pad[1][0] + w]
