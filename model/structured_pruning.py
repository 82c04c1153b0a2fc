"""Structured pruning: a smaller SwinUnet. Units are the MLP's hidden channels, the attention's heads, and the detail path's channels.

    scores = importance(model, batches, loss_fn)                   # first-order Taylor; without batches, magnitude
    smaller = shrink(model, mlp_share, head_share, scores)
    smaller = shrink_detail(model, 24)
"""
from __future__ import annotations

import math
from dataclasses import replace

import torch

from swin_unet import SwinUnet, check_state

STEP = 16                                  # hidden widths stay multiples of it, as the runtimes' kernels and blocks of 32 like


def importance(model, batches=None, loss_fn=None):
    """How much each unit matters: a list over model.blocks() of {"hidden": [units], "heads": [heads]}.

    With batches of (x, y): first-order Taylor (Molchanov et al., arXiv 1906.10771; Michel et al., arXiv 1905.10650). A unit's gate,
    1 now and 0 when it is gone, has the gradient sum(w * dL/dw) over the weights that carry the unit out (its column of fc2, its
    columns of proj); the score is that, absolute, averaged over batches. Without batches, magnitude: the norm of the weights that carry
    a unit out times the norm of those that make it (its row of fc1; its rows of v), which no rescaling between the two changes.
    """
    blocks = [b for _, b in model.blocks()]
    if batches is None:
        return [magnitude(b) for b in blocks]
    weights = [w for b in blocks for w in (b.fc2.weight, b.attn.proj.weight)]
    total, n, training = [0.0] * len(weights), 0, model.training
    model.eval()                                                   # no stochastic depth: a dropped path would count as unimportant
    for x, y in batches:
        gradients = torch.autograd.grad(loss_fn(model(x), y), weights)
        for i, (w, g) in enumerate(zip(weights, gradients)):
            gate = (w.detach() * g).sum(0)                         # [in]
            total[i] = total[i] + (gate if i % 2 == 0 else gate.view(blocks[i // 2].attn.heads, -1).sum(1)).abs()
        n += 1
    model.train(training)
    if not n:
        raise ValueError("no batches to score the units on")
    return [{"hidden": total[2 * i] / n, "heads": total[2 * i + 1] / n} for i in range(len(blocks))]


@torch.no_grad()
def magnitude(block):
    a = block.attn
    v, out = a.qkv.weight[2 * a.inner:], a.proj.weight.t()         # both [heads * hd, C]
    heads = [w.reshape(a.heads, -1).norm(dim=1) for w in (v, out)]
    return {"hidden": block.fc1.weight.norm(dim=1) * block.fc2.weight.norm(dim=0), "heads": heads[0] * heads[1]}


def kept_counts(sizes, share, scores, ranking, step, floor):
    """How many units each block keeps: a multiple of `step` (as far as there are that many), at least `floor` of its own."""
    if ranking == "block":
        wanted = [n * (1 - share) for n in sizes]
    else:
        every = torch.cat([s.flatten() for s in scores])
        gone = torch.zeros(len(every), dtype=torch.bool)
        gone[every.cpu().argsort(stable=True)[:round(share * len(every))]] = True
        wanted = [int((~g).sum()) for g in gone.split([len(s) for s in scores])]
    least = [max(step, math.ceil(floor * n / step) * step) for n in sizes]
    return [min(n, max(low, math.floor(w / step + 0.5) * step)) for n, w, low in zip(sizes, wanted, least)]


def best_units(scores, count):
    """Positions of the highest scores, in ascending order."""
    return scores.argsort(descending=True, stable=True)[:count].sort().values


@torch.no_grad()
def shrink(model, mlp_share, head_share, scores, ranking="block", floor=0.25):
    """A new, smaller SwinUnet without the lowest-scored `mlp_share` of hidden units and `head_share` of heads, the rest's weights copied.

    ranking "block": the same share of each block. "global": the lowest over all blocks, but each keeps `floor` of its units. The counts are
    rounded to multiples of 16 hidden units, and to at least one head. Shares are of what is there, so shrink, retrain, shrink again is
    iterative pruning.
    """
    if ranking not in ("block", "global"):
        raise ValueError(f'ranking is "{ranking}"; expected "block" or "global"')
    blocks = model.blocks()
    if len(scores) != len(blocks):
        raise ValueError(f"scores of {len(scores)} blocks for a network of {len(blocks)}")
    hidden = kept_counts([b.fc1.out_features for _, b in blocks], mlp_share, [s["hidden"] for s in scores], ranking, STEP, floor)
    heads = kept_counts([b.attn.heads for _, b in blocks], head_share, [s["heads"] for s in scores], ranking, 1, floor)
    state = dict(model.state_dict())
    for (name, b), score, h, k in zip(blocks, scores, hidden, heads):
        units, left = best_units(score["hidden"], h), best_units(score["heads"], k)
        state[f"{name}.fc1.weight"], state[f"{name}.fc1.bias"] = b.fc1.weight[units], b.fc1.bias[units]
        state[f"{name}.fc2.weight"] = b.fc2.weight[:, units]
        hd = b.attn.inner // b.attn.heads
        columns = (left[:, None] * hd + torch.arange(hd, device=left.device)).flatten()        # of q, of k, of v, and of proj
        rows = torch.cat([columns + i * b.attn.inner for i in range(3)])
        state[f"{name}.attn.qkv.weight"], state[f"{name}.attn.qkv.bias"] = b.attn.qkv.weight[rows], b.attn.qkv.bias[rows]
        state[f"{name}.attn.proj.weight"] = b.attn.proj.weight[:, columns]
        state[f"{name}.attn.bias_table"] = b.attn.bias_table[:, left]
    small = SwinUnet(replace(model.cfg, hidden=tuple(hidden), kept_heads=tuple(heads)))
    check_state(small, state)
    small.load_state_dict(state)
    small.bands = model.bands
    return small.to(next(model.parameters()).device).train(model.training)


@torch.no_grad()
def shrink_detail(model, width):
    """A new SwinUnet whose detail layers have `width` channels each, the rest's weights copied.

    Of each layer those channels stay whose weights have the greatest norm, in times out (as in `magnitude`).
    """
    layers, had = getattr(model.stem, "layers", []), model.cfg.detail_width
    if not len(layers) or not 1 <= width <= had:
        raise ValueError(f"detail width {width}; the network has {len(layers)} detail layers of {had} channels")
    if model.cfg.detail_levels:
        raise ValueError("the detail layers have levels below them: prune the layers first, then grow the levels (resize_detail.py)")
    state, left = dict(model.state_dict()), None
    for i, layer in enumerate(layers):
        follows = layers[i + 1] if i + 1 < len(layers) else model.stem.spread
        made, used = layer.weight.flatten(1).norm(dim=1), follows.weight.transpose(0, 1).flatten(1).norm(dim=1)
        kept = best_units(made * used, width)
        name = f"stem.layers.{i}"
        weight = layer.weight if left is None else layer.weight[:, left]
        state[f"{name}.weight"], state[f"{name}.bias"], left = weight[kept], layer.bias[kept], kept
    state["stem.spread.weight"] = model.stem.spread.weight[:, left]
    small = SwinUnet(replace(model.cfg, detail_width=width))
    check_state(small, state)
    small.load_state_dict(state)
    small.bands = model.bands
    return small.to(next(model.parameters()).device).train(model.training)
