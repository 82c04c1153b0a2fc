"""Stains in optical density: unmix, jitter, mix again; real H&E re-stained as immunohistochemistry (IHC).

Beer and Lambert: light through a stain falls off as exp(-amount), so stains add in optical density, -ln(v / white)
(Ruifrok & Johnston 2001, whose vectors for haematoxylin, eosin and DAB these are, rounded).
"""
from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

HAEMATOXYLIN, EOSIN = (0.65, 0.70, 0.29), (0.07, 0.99, 0.11)
COUNTERSTAIN, DAB = (0.72, 0.58, 0.30), (0.27, 0.57, 0.78)         # haematoxylin as it looks beside DAB; diaminobenzidine
VECTOR_SIGMA = 0.06


def unit(v):
    v = np.asarray(v, np.float64)
    return v / np.linalg.norm(v)


def jittered(vector, rng, sigma=VECTOR_SIGMA):
    return unit(np.maximum(unit(vector) + rng.normal(0, sigma, 3), 0.01))


def basis(first, second):
    """[3, 3], rows: two stains and what neither explains."""
    a, b = unit(first), unit(second)
    return np.stack([a, b, unit(np.cross(a, b))])


UNMIX = np.linalg.inv(basis(HAEMATOXYLIN, EOSIN)).T                # amounts = UNMIX @ density


def density(v, white):
    """Intensities [3, ...] -> optical density, never negative; 0 and below count as 1."""
    return np.maximum(-np.log(np.maximum(v, 1.0) / white), 0.0)


def intensity(od, white):
    return white * np.exp(-od)


@dataclass
class Staining:
    """One drawn change of stain, so that a crop and the picture's reference pixels get the same."""
    mix: np.ndarray         # [3, 3], columns: where the amounts of H, E and the rest go
    gains: np.ndarray       # [3]

    def __call__(self, od):
        shape = od.shape
        amounts = UNMIX @ od.reshape(3, -1)
        amounts[:2] = np.maximum(amounts[:2], 0)
        return np.maximum(self.mix @ (amounts * self.gains[:, None]), 0).reshape(shape).astype(np.float32)


def other_he(rng):
    """H&E of another laboratory: both vectors moved, each stain thinner or thicker."""
    mix = basis(jittered(HAEMATOXYLIN, rng), jittered(EOSIN, rng)).T
    return Staining(mix, np.array([math.exp(rng.normal(0, 0.22)), math.exp(rng.normal(0, 0.3)), rng.uniform(0.6, 1.2)]))


def ihc(rng):
    """Haematoxylin turned blue and mostly pale, eosin down to a quarter at most."""
    mix = basis(jittered(COUNTERSTAIN, rng), jittered(EOSIN, rng)).T
    return Staining(mix, np.array([math.exp(rng.uniform(math.log(0.35), math.log(1.2))), rng.uniform(0.02, 0.25), rng.uniform(0, 0.5)]))


def dab_amount(labels, haematoxylin, rng):
    """[h, w]: DAB on a random share of the instances, with the texture of their haematoxylin and blurred edges; sometimes on
    the rim around them instead (a membrane), always with a little in the background.
    """
    ids = np.unique(labels)
    ids = ids[ids > 0]
    share = rng.choice([0.0, rng.uniform(0.05, 0.95), 1.0], p=[0.1, 0.75, 0.15])
    strength = np.zeros(int(labels.max(initial=0)) + 1, np.float32)
    chosen = ids[rng.random(len(ids)) < share]
    strength[chosen] = np.exp(rng.normal(0, 0.35, len(chosen))) * math.exp(rng.uniform(math.log(0.35), math.log(1.8)))
    amount = strength[labels]
    if rng.random() < 0.2:                                         # around the nuclei, not in them
        reach = int(rng.integers(5, 12))
        amount = ndimage.maximum_filter(amount, reach) * (amount == 0)
    amount = ndimage.gaussian_filter(amount, rng.uniform(0.6, 1.4))
    inside = haematoxylin[labels > 0]
    texture = haematoxylin / max(float(inside.mean()) if inside.size else 1.0, 0.05)
    amount = amount * (0.5 + 0.5 * np.clip(texture, 0, 2))
    background = rng.uniform(0, 0.06) + rng.uniform(0, 0.12) * np.clip(texture, 0, 1.5)
    return (amount + background * (rng.random() < 0.6)).astype(np.float32)


def restain(v, labels, white, reference, rng, ihc_share=0.3):
    """v [3, h, w] intensities, labels [h, w], reference [3, n] pixels of the whole picture -> the same places in another stain,
    and the 1st and 99.8th percentiles that the whole picture would have in it."""
    od = density(v, white)
    as_ihc = rng.random() < ihc_share
    staining = ihc(rng) if as_ihc else other_he(rng)
    changed = staining(od)
    pixels = [intensity(staining(density(reference, white)), white).ravel()]
    if as_ihc:
        haematoxylin = np.maximum((UNMIX @ od.reshape(3, -1))[0], 0).reshape(labels.shape)
        changed = changed + jittered(DAB, rng).astype(np.float32)[:, None, None] * dab_amount(labels, haematoxylin, rng)
        pixels.append(intensity(changed, white)[:, ::4, ::4].ravel())
    lo, hi = np.percentile(np.concatenate(pixels), [1.0, 99.8])
    return intensity(changed, white), float(lo), float(max(hi, lo + 1))


def slide_range(lo, hi, rng):
    """The range that a whole slide would give this picture: white near its glass, black at its darkest nuclei."""
    span = hi - lo
    if rng.random() < 0.6:
        hi = 255.0 if hi > 190 and rng.random() < 0.5 else hi + span * rng.uniform(0, 0.3)
    if rng.random() < 0.6:
        lo = max(0.0, lo - span * rng.uniform(-0.08, 0.35))
    return lo, max(hi, lo + 1)
