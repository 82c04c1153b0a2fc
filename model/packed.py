"""Packed forms of weights: integer codes in as few bits as they need, and what gives them back their values; their sizes on disk.

    write(packed, rest) -> bytes; read(bytes) -> packed            # name -> Packed
    packed_size(model, packed)                                     # {"raw_bytes", "compressed_bytes", "bits_per_weight"}

Scales, zero points that are not integers, and codebooks are stored in float16.
"""
from __future__ import annotations

import json
import math
import zlib
from dataclasses import dataclass

import numpy as np
import torch


@dataclass
class Packed:
    """kind "affine": (code - zero) * scale, by block along the input. "table": table[row][code]. "values": the numbers themselves.
    With a bitmap, codes or values hold only the weights that are not zero, in row order."""
    kind: str
    shape: tuple
    bits: int
    block: int
    arrays: dict                           # name -> numpy array: codes, scale, zero, table, values, bitmap


def pack_bits(codes, bits):
    """Codes below 2^bits -> bytes, the first code in the lowest bits. bits: 1, 4 or 8."""
    codes = np.asarray(codes, np.uint8).ravel()
    if bits == 8:
        return codes
    per = 8 // bits
    codes = np.pad(codes, (0, -len(codes) % per)).reshape(-1, per)
    return (codes << (bits * np.arange(per, dtype=np.uint8))).sum(1).astype(np.uint8)


def unpack_bits(packed, bits, count):
    if bits == 8:
        return packed[:count]
    per = 8 // bits
    return (packed[:, None] >> (bits * np.arange(per, dtype=np.uint8)) & (2 ** bits - 1)).ravel()[:count]


def spread(per_block, block, n):
    """[out, blocks] -> [out, n]: each block's number at each of its weights."""
    return per_block.repeat_interleave(block, 1)[:, :n]


def affine(codes, scale, zero, bits, block, gone=None):
    """Codes [out, in], scale [out, blocks] in float16's numbers; zero likewise: integers, fractions, or None for the middle code."""
    arrays = {"scale": scale.to(torch.float16).numpy()}
    if zero is not None:
        whole = bool((zero == zero.round()).all() and zero.min() >= 0 and zero.max() < 2 ** bits)
        arrays["zero"] = pack_bits(zero.numpy(), bits) if whole else zero.to(torch.float16).numpy()
    return with_codes(Packed("affine", tuple(codes.shape), bits, block, arrays), codes, gone)


def table(codes, values, bits, gone=None):
    """Codes [out, in], values [1 or out, 2^bits] in float16's numbers."""
    return with_codes(Packed("table", tuple(codes.shape), bits, 0, {"table": values.to(torch.float16).numpy()}), codes, gone)


def with_codes(p, codes, gone=None):
    """Put codes [out, in] into p. Where zeros are so many that a bitmap pays for itself only the others' codes are kept: the zeros
    that the codes give, or those of `gone` (see pruned), which the codes need not be able to say."""
    codes = codes.to(torch.uint8).numpy()
    p.arrays["codes"] = pack_bits(codes, p.bits)
    keep = (decode(p) != 0).numpy() if gone is None else ~gone.numpy()
    if keep.mean() < 1 - 1 / p.bits:
        p.arrays["codes"], p.arrays["bitmap"] = pack_bits(codes[keep], p.bits), np.packbits(keep)
    return p


def pruned(W, bits):
    """Where a pruned matrix has its zeros, which then stay zero; None for a matrix with too few for a bitmap."""
    gone = W == 0
    return gone if float(gone.float().mean()) > 1 / bits else None


def decode(p):
    """Packed -> float32 weights [out, in]."""
    n, a = math.prod(p.shape), p.arrays
    keep = torch.from_numpy(np.unpackbits(a["bitmap"], count=n).astype(bool)).view(p.shape) if "bitmap" in a else None
    count = n if keep is None else int(keep.sum())
    if p.kind == "values":
        given = torch.from_numpy(a["values"]).float()
    else:
        given = torch.from_numpy(unpack_bits(a["codes"], p.bits, count).astype(np.int64))
    full = given.view(p.shape) if keep is None else torch.zeros(p.shape, dtype=given.dtype).masked_scatter(keep, given)
    if p.kind == "affine":
        scale = torch.from_numpy(a["scale"]).float()
        zero = torch.full_like(scale, 2 ** (p.bits - 1))
        if "zero" in a and a["zero"].dtype == np.uint8:
            zero = torch.from_numpy(unpack_bits(a["zero"], p.bits, scale.numel()).astype(np.float32)).view(scale.shape)
        elif "zero" in a:
            zero = torch.from_numpy(a["zero"]).float()
        full = (full - spread(zero, p.block, p.shape[1])) * spread(scale, p.block, p.shape[1])
    elif p.kind == "table":
        values = torch.from_numpy(a["table"]).float()
        full = values.expand(p.shape[0], -1).gather(1, full)
    return full if keep is None else full * keep


def write(packed, rest, dtype=np.float16):
    """name -> Packed, name -> tensor -> bytes: a length, a JSON table of contents, the arrays. Values and `rest` are stored as dtype."""
    contents, body = [], []
    entries = packed | {n: Packed("values", tuple(t.shape), 32, 0, {"values": t.detach().cpu().numpy()}) for n, t in rest.items()}
    for name, p in entries.items():
        arrays = {k: a.astype(dtype) if k == "values" and a.dtype == np.float32 else a for k, a in p.arrays.items()}
        contents.append([name, p.kind, p.shape, p.bits, p.block, [[k, a.dtype.str, a.shape] for k, a in arrays.items()]])
        body += [np.ascontiguousarray(a).tobytes() for a in arrays.values()]
    head = json.dumps(contents, separators=(",", ":")).encode()
    return b"".join([len(head).to_bytes(4, "little"), head, *body])


def read(data):
    """What write wrote: name -> Packed; decode gives the weights."""
    n = int.from_bytes(data[:4], "little")
    at, entries = 4 + n, {}
    for name, kind, shape, bits, block, arrays in json.loads(data[4:at]):
        got = {}
        for key, dtype, size in arrays:
            got[key] = np.frombuffer(data, dtype, math.prod(size), at).reshape(size).copy()
            at += got[key].nbytes
        entries[name] = Packed(kind, tuple(shape), bits, block, got)
    return entries


def packed_size(model, packed, dtype=np.float16):
    """Sizes of the whole network, really written. bits_per_weight: of the packed matrices with their scales and bitmaps, or of everything
    when nothing is packed. compressed_bytes: zlib, level 9. packed={} gives the uncompressed network's."""
    rest = {n: t for n, t in model.state_dict().items() if n not in packed}
    if any(".parametrizations." in n for n in rest):
        raise ValueError("the model is still being trained by a method; bake(model) first")
    data = write(packed, rest, dtype)
    alone, weights = write(packed, {}, dtype) if packed else data, sum(math.prod(p.shape) for p in packed.values())
    return {"raw_bytes": len(data), "compressed_bytes": len(zlib.compress(data, 9)),
            "bits_per_weight": 8 * len(alone) / (weights or sum(t.numel() for t in rest.values()))}
