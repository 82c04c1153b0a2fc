"""Compression of a network's linears, by one entry and one way out.

    packed = compress(model, "rtn", block=32, clip=True)           # at rest: the weights are replaced at once
    compress(model, "one_bit", scope="attention", rule="flexible") # trained: the weights now pass through a parametrization ...
    packed = bake(model)                                           # ... until this leaves plain weights

Methods at rest: "rtn", "kmeans", "hqq". Trained: "fake_quant", "one_bit", "mask"; "fake_quant" may go on top of a "mask".
`packed` maps a weight's name to its Packed form, and the weights left in the model are its decoded numbers, bit for bit.

Everything works on nn.Linear weights [out, in] of at least MIN_WEIGHTS. Convolutions, norms, biases, bias tables and smaller linears stay
as they are: together they are 1 to 3 % of the weights, and the ONNX operators for packed weights take a MatMul only.

Scales, zero points that are not integers, and codebooks are rounded to float16 before the codes are chosen, because that is what is stored.

Packed forms and their sizes: packed.py. Structured pruning, which gives back a smaller network: structured_pruning.py.
"""
from __future__ import annotations

import numpy as np
import torch
import torch.nn as nn
import torch.nn.utils.parametrize as P

from packed import Packed, affine, decode, pruned, spread, table

MIN_WEIGHTS = 1024
MIN_SCALE = 2.0 ** -14                     # the smallest normal float16; it stands in for the scale of an all-zero block
CLIPS = torch.linspace(1.0, 0.5, 26).tolist()


def targets(model, scope="all"):
    """(name, linear) of every linear that is compressed; scope "attention" keeps those inside attention (qkv and proj)."""
    if scope not in ("all", "attention"):
        raise ValueError(f'scope is "{scope}"; expected "all" or "attention"')
    found = [(n, m) for n, m in model.named_modules()
             if isinstance(m, nn.Linear) and m.weight.numel() >= MIN_WEIGHTS and (scope == "all" or ".attn." in f".{n}.")]
    if not found:
        raise ValueError(f"no linear of {MIN_WEIGHTS} weights or more in scope \"{scope}\"")
    return found


def half(x):
    """float32 numbers that float16 holds."""
    return x.to(torch.float16).float()


def half_above(x):
    """A float16 number not below x > 0: a scale rounded down would push a block's extreme past the last code."""
    return half(x.clamp(min=MIN_SCALE) * (1 + 2 ** -10))


def blocks_of(W, block):
    """[out, in] -> [out, blocks, block], zeros at the ragged end. block 0: one block per row."""
    block = block or W.shape[1]
    W = nn.functional.pad(W, (0, -W.shape[1] % block))
    return W.view(W.shape[0], -1, block), block


def signed_scale(B, bits, ratio=1.0):
    """[out, blocks, block] -> [out, blocks]: what makes the weight of largest magnitude the lowest code; negative where it is positive."""
    extreme = B.gather(2, B.abs().argmax(2, keepdim=True)).squeeze(2)
    return half_above(extreme.abs() * ratio / 2 ** (bits - 1)) * torch.where(extreme > 0, -1.0, 1.0)


# ---- methods at rest: float32 weights [out, in] -> Packed

def rtn(W, bits=4, block=32, symmetric=False, clip=False):
    """Round to nearest on a uniform grid per block along the input (per output row with block=0).

    asymmetric: codes 0..2^bits - 1 over [min(w, 0), max(w, 0)] with an integer zero point, so that zero stays zero; the error is at most
    half a step. symmetric: no zero point, the weight of largest magnitude is the lowest code, -2^(bits-1), whatever its sign (the
    scale has it, as in ONNX Runtime's quantiser): one step finer than -m..m, and only what lies past the highest code on the other side
    errs by up to one step. clip: the range is also tried narrower, down to half, and each block keeps the one of least squared error.
    """
    B, block = blocks_of(W, block)
    top = 2 ** bits - 1
    best = None
    for ratio in CLIPS if clip else CLIPS[:1]:
        if symmetric:
            scale, zero = signed_scale(B, bits, ratio), torch.full(B.shape[:2], 2.0 ** (bits - 1))
        else:
            lo, hi = B.amin(2).clamp(max=0) * ratio, B.amax(2).clamp(min=0) * ratio
            scale = half_above((hi - lo) / top)
            zero = (-lo / scale).round()
        codes = ((B / scale[..., None]).round() + zero[..., None]).clamp(0, top)
        error = ((codes - zero[..., None]) * scale[..., None] - B).square().sum(2)
        if best is None:
            best = [error, scale, zero, codes]
        else:
            better = error < best[0]
            best = [torch.where(better if new.ndim == 2 else better[..., None], new, old)
                    for new, old in zip((error, scale, zero, codes), best)]
    _, scale, zero, codes = best
    return affine(codes.flatten(1)[:, :W.shape[1]], scale, None if symmetric else zero, bits, block)


def kmeans(W, bits=4):
    """One codebook of 2^bits values per matrix, by Lloyd's algorithm on the sorted weights (Han et al., arXiv 1510.00149), started evenly
    between the extremes as there: no chance in it. Weights that are exactly zero in a pruned matrix stay out and stay zero."""
    gone = pruned(W, bits)
    values = (W if gone is None else W[~gone]).flatten().double().sort().values
    sums = torch.cat([values.new_zeros(1), values.cumsum(0)])
    centres = torch.linspace(float(values[0]), float(values[-1]), 2 ** bits, dtype=torch.float64)
    for _ in range(300):
        cuts = torch.searchsorted(values, (centres[1:] + centres[:-1]) / 2)
        ends = torch.cat([cuts, torch.tensor([len(values)])])
        starts = torch.cat([torch.tensor([0]), cuts])
        means = (sums[ends] - sums[starts]) / (ends - starts).clamp(min=1)
        moved = torch.where(ends > starts, means, centres)         # an empty cluster stays where it was
        if torch.equal(moved, centres):
            break
        centres = moved
    centres = half(centres.float()).sort().values
    codes = torch.bucketize(W.contiguous(), (centres[1:] + centres[:-1]) / 2)
    return table(codes, centres[None], bits, gone)


def hqq(W, bits=4, block=32):
    """Half-quadratic quantisation (Badri & Shaji 2023), by ONNX Runtime's own solver: from round to nearest, the zero point (a fraction
    here) is moved to lessen the sum of |error|^0.7, which outliers pull less than squares."""
    from onnxruntime.quantization.matmul_nbits_quantizer import HQQWeightOnlyQuantConfig, HQQWeightOnlyQuantizer
    solver = HQQWeightOnlyQuantizer(HQQWeightOnlyQuantConfig(block_size=block, bits=bits))
    codes, scale, zero = solver.quantize_internal(W.cpu(), bits=bits, group_size=block)
    scale = half(scale)
    if not torch.isfinite(scale).all():
        raise ValueError(f"a block's range of {float((2 ** bits - 1) * scale.max()):.3g} does not fit a float16 scale")
    return affine(codes[:, :W.shape[1]], scale, half(zero), bits, block, pruned(W, bits))


# ---- trained methods: parametrizations of a weight [out, in]. forward(w) is what the layer multiplies by; pack(w) the same, packed

class StraightThrough(torch.autograd.Function):
    """Backward as if the rounding were not there (Bengio et al., arXiv 1308.3432)."""
    @staticmethod
    def forward(ctx, x, rounded):
        return rounded

    @staticmethod
    def backward(ctx, gradient):
        return gradient, None


class FakeQuant(nn.Module):
    """rtn's symmetric rounding in the forward pass, straight through in the backward; block=0 is one scale per output row.

    scale "max": from the weights at each step, as without a clip search. "mse": the clip search's at the start, then fixed. "learned":
    trained from there on (Esser et al., arXiv 1902.08153), its gradient scaled down by sqrt(weights per scale * largest code) as
    there. A weight beyond the last code gets no gradient.
    """
    def __init__(self, W, bits=4, block=0, scale="mse"):
        super().__init__()
        if scale not in ("max", "mse", "learned"):
            raise ValueError(f'scale is "{scale}"; expected "max", "mse" or "learned"')
        self.bits, self.block, self.lowest = bits, block or W.shape[1], 2 ** (bits - 1)
        start = None
        if scale != "max":
            start = torch.from_numpy(rtn(W.detach().cpu(), bits, block, symmetric=True, clip=True).arrays["scale"]).float().to(W.device)
        if scale == "learned":
            self.scale = nn.Parameter(start)
        else:
            self.register_buffer("scale", start)

    def step(self, w):
        """The scales in use, [out, blocks]."""
        if self.scale is None:
            return signed_scale(blocks_of(w.detach(), self.block)[0], self.bits)
        if not self.scale.requires_grad:
            return half(self.scale)
        now = self.scale.detach()
        gentle = (self.block * self.lowest) ** -0.5
        return StraightThrough.apply(now + (self.scale - now) * gentle, half(torch.where(now.abs() < MIN_SCALE, MIN_SCALE, now)))

    def codes(self, w, step):
        x = (w / spread(step, self.block, w.shape[1])).clamp(-self.lowest, self.lowest - 1)
        return StraightThrough.apply(x, x.detach().round())

    def forward(self, w):
        step = self.step(w)
        return self.codes(w, step) * spread(step, self.block, w.shape[1])

    def pack(self, w):
        step = self.step(w)
        return affine((self.codes(w, step) + self.lowest).cpu(), step.cpu(), None, self.bits, self.block)


class OneBit(nn.Module):
    """Each weight becomes c1 or c2, a pair per matrix or, with per_row, per output row (after Cheong & Daniel 2019, "transformers.zip").

    rule "fixed": c1 where w >= 0, else c2; c1 the mean of those weights, c2 of the others, both left alone after that.
    rule "flexible": c1, c2 start at the 2-means of the weights and are trained; the threshold is their middle.
    rule "kmeans": the same start and threshold, never trained.
    straight_through (not in the paper): the weights below go on learning as if they were used themselves, and change sides. Without it
    they are frozen.
    """
    def __init__(self, W, rule="flexible", per_row=False, straight_through=False):
        super().__init__()
        if rule not in ("fixed", "flexible", "kmeans"):
            raise ValueError(f'rule is "{rule}"; expected "fixed", "flexible" or "kmeans"')
        self.rule, self.straight_through = rule, straight_through
        rows = W.detach() if per_row else W.detach().view(1, -1)
        pair = sign_means(rows) if rule == "fixed" else two_means(rows)
        if rule == "flexible":
            self.pair = nn.Parameter(pair)                         # [1 or out, 2]: below, above
        else:
            self.register_buffer("pair", pair)

    def values(self):
        return StraightThrough.apply(self.pair, half(self.pair.detach()))

    def above(self, w):
        return w >= (0.0 if self.rule == "fixed" else self.values().detach().mean(1, keepdim=True))

    def forward(self, w):
        pair = self.values()
        hard = torch.where(self.above(w), pair[:, 1:], pair[:, :1])
        return hard + (w - w.detach()) if self.straight_through else hard

    def pack(self, w):
        return table(self.above(w).cpu(), self.values().cpu(), 1)


def sign_means(rows):
    """[R, n] -> [R, 2]: the mean of the weights below zero, of the others; zero where there are none."""
    above = rows >= 0
    return torch.stack([(rows * side).sum(1) / side.sum(1).clamp(min=1) for side in (~above, above)], 1)


def two_means(rows):
    """[R, n] -> [R, 2]: the two centres of least squared error, exactly, from every split of the sorted row."""
    s = rows.double().sort(1).values
    n = s.shape[1]
    left = s.cumsum(1)[:, :-1]
    count = torch.arange(1, n, device=rows.device, dtype=torch.float64)
    low, high = left / count, (s.sum(1, keepdim=True) - left) / (n - count)
    best = (count * low.square() + (n - count) * high.square()).argmax(1, keepdim=True)    # least within = most between
    return torch.cat([low.gather(1, best), high.gather(1, best)], 1).float()


class Mask(nn.Module):
    """Unstructured pruning: zeros stay zero whatever the optimizer does to the weights below."""
    def __init__(self, W):
        super().__init__()
        self.register_buffer("mask", torch.ones_like(W, dtype=torch.bool))

    def forward(self, w):
        return w * self.mask

    def pack(self, w):
        keep = self.mask.cpu().numpy()
        return Packed("values", tuple(w.shape), 32, 0, {"values": w.detach().cpu().numpy()[keep], "bitmap": np.packbits(keep)})


def masks(model):
    return [(n, m, p) for n, m in model.named_modules() if P.is_parametrized(m, "weight") for p in m.parametrizations.weight
            if isinstance(p, Mask)]


@torch.no_grad()
def set_sparsity(model, sparsity, class_blind=True):
    """Zero the smallest weights up to this share of all masked linears; what is zero already comes first, so pruning only goes on.

    class_blind: one threshold over all matrices; otherwise (class-uniform) the same share of each (See et al., arXiv 1606.09274).
    """
    held = masks(model)
    if not held:
        raise ValueError('no masks to set; call compress(model, "mask") first')
    sizes = [m.parametrizations.weight.original.abs().masked_fill(~p.mask, -1) for _, m, p in held]
    if class_blind:
        lowest(torch.cat([s.flatten() for s in sizes]), sparsity, [p.mask for _, _, p in held])
    else:
        for s, (_, _, p) in zip(sizes, held):
            lowest(s.flatten(), sparsity, [p.mask])


def lowest(sizes, share, out):
    """Write masks with the lowest `share` of sizes off; exactly that many, ties by position."""
    keep = torch.ones_like(sizes, dtype=torch.bool)
    keep[sizes.argsort(stable=True)[:round(share * len(sizes))]] = False
    for mask, part in zip(out, keep.split([m.numel() for m in out])):
        mask.copy_(mask & part.view(mask.shape))


def cubic(step, start, end, final, initial=0.0):
    """Sparsity at a step: initial before start, final after end, between them steep first and then ever gentler (Zhu & Gupta,
    arXiv 1710.01878)."""
    t = min(max((step - start) / max(1, end - start), 0.0), 1.0)
    return final + (initial - final) * (1 - t) ** 3


def stepwise(step, levels, every, start=0):
    """Prune, retrain, repeat (Han et al., arXiv 1506.02626): levels[k] from step start + k * every on, 0 before."""
    k = (step - start) // every
    return 0.0 if k < 0 else levels[min(k, len(levels) - 1)]


# ---- in and out

AT_REST = {"rtn": rtn, "kmeans": kmeans, "hqq": hqq}
TRAINED = {"fake_quant": FakeQuant, "one_bit": OneBit, "mask": Mask}


def compress(model, method, scope="all", **options):
    """Compress the linears in place; the options are the method's own. Returns name -> Packed, for a trained method as it is before
    any training."""
    if method not in AT_REST and method not in TRAINED:
        raise ValueError(f'method is "{method}"; expected one of {sorted(AT_REST | TRAINED)}')
    packed = {}
    for name, m in targets(model, scope):
        if method in AT_REST:
            if P.is_parametrized(m, "weight"):
                raise ValueError(f"{name} is still being trained by another method; bake(model) first")
            packed[f"{name}.weight"] = AT_REST[method](m.weight.detach().float().cpu(), **options)
            with torch.no_grad():
                m.weight.copy_(decode(packed[f"{name}.weight"]))
            continue
        if P.is_parametrized(m, "weight") and (method != "fake_quant" or not all(isinstance(p, Mask) for p in m.parametrizations.weight)):
            raise ValueError(f'{name} has a trained method already, and only "fake_quant" goes on top of a "mask"; bake(model) first')
        P.register_parametrization(m, "weight", TRAINED[method](m.weight, **options))
        if method == "one_bit" and not options.get("straight_through"):
            m.parametrizations.weight.original.requires_grad_(False)
        packed[f"{name}.weight"] = pack(m)
    return packed


@torch.no_grad()
def pack(linear):
    """The packed form of a parametrized linear, as its outermost parametrization sees it."""
    w = linear.parametrizations.weight.original
    *below, top = linear.parametrizations.weight
    for p in below:
        w = p(w)
    return top.pack(w)


def bake(model):
    """Take the parametrizations away and leave plain weights, the ones the network computed with. Returns name -> Packed."""
    packed = {}
    for name, m in list(model.named_modules()):
        if isinstance(m, nn.Linear) and P.is_parametrized(m, "weight"):
            packed[f"{name}.weight"] = pack(m)
            P.remove_parametrizations(m, "weight", leave_parametrized=True)
            m.weight.requires_grad_(True)
    return packed
