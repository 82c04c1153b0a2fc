"""0.4 cross-entropy + 0.6 soft Dice, the paper's weights."""
from __future__ import annotations

import torch
import torch.nn.functional as F

OPTIONS = ("pair_share", "picture_share", "sharpness")


def segmentation_loss(logits, classes, class_weights, sample_weights=None, ce_share=0.4, pair_share=0.0, picture_share=0.0, sharpness=1.0):
    """logits [N,K,H,W], classes [N,H,W] int64; the cross-entropy weighs by class_weights [K] times sample_weights [N,H,W].

    The Dice part averages every class but background, and "any foreground" (1 - p0), which is what the reported
    pixel Dice measures. Sums run over the whole batch, so a crop without nuclei costs its false positives and no more.

    pair_share: of the cross-entropy, that between background and any foreground, whatever class the foreground is; without class_weights.
    picture_share: of the Dice part, that of any foreground as it is scored: a mean over the crops, of probabilities sharpened
    (softmax of sharpness * logits), so that mass split between the foreground classes is lost here as it is in an argmax.
    """
    logits = logits.float()
    weights = class_weights[classes] if sample_weights is None else class_weights[classes] * sample_weights
    ce = (F.cross_entropy(logits, classes, reduction="none") * weights).sum() / weights.sum()
    foreground = classes != 0
    if pair_share:
        pair = F.binary_cross_entropy_with_logits(logits[:, 1:].logsumexp(1) - logits[:, 0], foreground.float(), sample_weights)
        pair = pair if sample_weights is None else pair / sample_weights.mean()
        ce = (1 - pair_share) * ce + pair_share * pair
    p = logits.softmax(1)
    K = p.shape[1]
    # Weight 0: on foreground, nobody knows which class of it; on background, nobody knows anything.
    known = torch.ones_like(p[:, 0]) if sample_weights is None else (sample_weights > 0).to(p.dtype)
    seen = torch.maximum(known, foreground.to(p.dtype))
    terms = [soft_dice(p[:, k] * known, (classes == k) * known) for k in range(1, K)]
    terms.append(soft_dice((1 - p[:, 0]) * seen, foreground))
    dice = torch.stack(terms).mean()
    if picture_share:
        sharp = (1 - (sharpness * logits).softmax(1)[:, 0]) * seen
        scored = soft_dice(sharp, foreground, smooth=100.0, over=(1, 2)).mean()
        dice = (1 - picture_share) * dice + picture_share * scored
    return ce_share * ce + (1 - ce_share) * (1 - dice)


def soft_dice(p, target, smooth=1.0, over=None):
    target = target.to(p.dtype)
    return (2 * (p * target).sum(over) + smooth) / ((p * p).sum(over) + target.sum(over) + smooth)
