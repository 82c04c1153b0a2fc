"""0.4 cross-entropy + 0.6 soft Dice, the paper's weights."""
from __future__ import annotations

import torch
import torch.nn.functional as F


def segmentation_loss(logits, classes, class_weights, sample_weights=None, ce_share=0.4):
    """logits [N,K,H,W], classes [N,H,W] int64; the cross-entropy weighs by class_weights [K] times sample_weights [N,H,W].

    The Dice part averages every class but background, and "any foreground" (1 - p0), which is what the reported
    pixel Dice measures. Sums run over the whole batch, so a crop without nuclei costs its false positives and no more.
    """
    logits = logits.float()
    weights = class_weights[classes] if sample_weights is None else class_weights[classes] * sample_weights
    ce = (F.cross_entropy(logits, classes, reduction="none") * weights).sum() / weights.sum()
    p = logits.softmax(1)
    K = p.shape[1]
    terms = [soft_dice(p[:, k], classes == k) for k in range(1, K)]
    terms.append(soft_dice(1 - p[:, 0], classes != 0))
    return ce_share * ce + (1 - ce_share) * (1 - torch.stack(terms).mean())


def soft_dice(p, target, smooth=1.0):
    target = target.to(p.dtype)
    return (2 * (p * target).sum() + smooth) / ((p * p).sum() + target.sum() + smooth)
