"""Random crops of nuclei to train on: geometry, colours, stains.

Every picture is brought to the model's spacing once and kept in memory as float16, already normalised but not yet clipped; crops are
cut from there with one affine resampling each.
"""
from __future__ import annotations

import io
import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from scipy import ndimage

from tasks.nuclei_data import (
    OFFSET,
    SCALE,
    SETS,
    UNKNOWN,
    WINDOW,
    between_instances,
    labels_to_size,
    near_cuts,
    normalise,
    percentile_range,
    targets_from_instances,
    to_model_spacing,
)
from tasks.stains import restain, slide_range


class Sampler:
    """Endless random crops, balanced over kinds and fields. `batch(n)` -> pixels [n,3,S,S], classes [n,S,S], weights [n,S,S]:
    1, and between_weight more where two nuclei are within reach of each other; 0 where the set's own cuts part them, and where it is
    unknown what is there (on background). `plain`:
    share of crops that keep their colours, in the sets that are not bright-field.
    kind_share: how often each set or kind is drawn; scale_range, set_scale_range: enlargement at least and at most, of a set too;
    count_power: a picture is drawn by its number of nuclei to this power; restain_share: of the crops of bright-field sets, and
    ihc_share: of those; coarse_share: of the crops of bright-field sets that are seen as a compressed scan of larger pixels;
    set_centred_share: of a set's crops, how many have a nucleus near their centre (CENTRED_SHARE of the other sets'). The rest lie
    anywhere, like the windows of a slide, most of which is background."""

    CENTRED_SHARE = 0.85
    KIND_SHARE = {"fluo": 0.57, "stained-purple": 0.25, "gray-bright": 0.10, "stained-greyish": 0.04, "stained-pink": 0.04}

    def __init__(self, samples, size=WINDOW, seed=0, plain=0.0, between_weight=0.0, kind_share=None, scale_range=(0.65, 1.55),
                 count_power=0.0, restain_share=0.6, ihc_share=0.3, set_scale_range=None, coarse_share=0.0,
                 set_centred_share=None):
        self.scale_range, self.set_scale_range, kind_share = scale_range, set_scale_range or {}, kind_share or self.KIND_SHARE
        self.set_centred_share = set_centred_share or {}
        self.restain_share, self.ihc_share, self.coarse_share = restain_share, ihc_share, coarse_share
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
            whole = s.pixels.reshape(-1, 3) if s.whole is None else s.whole
            lo, hi = percentile_range(whole)
            x = to_model_spacing(normalise(s.pixels, lo, hi), s.mpp)
            labels = labels_to_size(s.instances, x.shape[1], x.shape[2])
            ids = np.unique(labels[labels > 0])
            centres = np.array(ndimage.center_of_mass(labels > 0, labels, ids)).reshape(-1, 2)
            if s.set == "negatives":
                centres = np.argwhere(labels == 0)[::97]
            reference = self.rng.choice(whole, 2048).T.astype(np.float32) if SETS[s.set].brightfield else None
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
        if len(centres) and rng.random() < self.set_centred_share.get(s.set, self.CENTRED_SHARE):
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
        unknown, labels = labels == UNKNOWN, np.maximum(labels, 0)
        if s.reference is not None:
            x = self.brightfield(x, labels, s)
        else:
            x = augment_colour(x, s.kind, rng) if rng.random() >= self.plain else x.clamp(0, 1)
        if SETS[s.set].cuts:
            weights = 1 - torch.from_numpy(near_cuts(labels)).float()
        else:
            weights = 1 + self.between_weight * torch.from_numpy(between_instances(labels)).float()
        weights[torch.from_numpy(unknown)] = 0
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
        if rng.random() < self.coarse_share:
            x = coarse_scan(x, rng)
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


def coarse_scan(x, rng):
    """x [3, S, S] in [0, 1] as a scanner with larger pixels stores it (20x: 0.5 µm, sharpened, JPEG), magnified as a run magnifies it."""
    S = x.shape[1]
    small = F.interpolate(x[None], round(S / rng.uniform(1.5, 2.2)), mode="bilinear", antialias=True)[0]
    if rng.random() < 0.5:                                 # many scanners sharpen: dark nuclei become black, with pale rims
        blurred = torch.from_numpy(ndimage.gaussian_filter(small.numpy(), (0, *[rng.uniform(0.7, 1.5)] * 2)))
        small = small + (small - blurred) * rng.uniform(0.3, 1.8)
    if rng.random() < 0.8:
        small = jpeg(small.clamp(0, 1), int(rng.integers(25, 90)))
    return F.interpolate(small[None], S, mode="bilinear")[0].clamp(0, 1)


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
