"""Linears of a float32 ONNX file to 4 bits, convolutions to 8, everything else to half precision at rest.

    python model/quantize.py runs/nuclei/nuclei-fp32.onnx --out runs/nuclei/nuclei-int4.onnx                 # after training
    python model/quantize.py fp32.onnx --checkpoint recovered.pt --form edge --out int4-edge.onnx            # trained in 4 bits

Where the codes come from: a checkpoint that was trained through 4-bit weights holds one scale per output channel ("scales") and
its weights lie on that grid, so the codes are exact. Without one, weights are rounded to nearest in blocks of 32 along the input,
with a zero point.

Where they go:
* `nbits`: MatMulNBits, which CPU, WebGPU and CUDA multiply from 4 bits. In WebAssembly it unpacks the whole weight on every call.
* `edge`: an int4 tensor that a Cast widens to int8 once, when the session is built, and DynamicQuantizeMatMul: 8-bit integer products,
  the fastest form in WebAssembly. It rounds each linear's input to 8 bits by the range of the whole tensor, so a window's result
  would depend on its neighbours in a batch: it must be fed one window at a time (model.json: windowsPerRun). The batch axis stays
  symbolic all the same, for with a fixed size the runtime plans 30 MB more. Per-channel codes only.

Linears of fewer than MIN_WEIGHTS stay as they are. Convolutions of MIN_CONVOLUTION weights or more are rounded to nearest in 8 bits, with a
scale per output channel, and multiplied out on loading. Everything else is stored in float16 and cast to float32 on loading.
"""
from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

BLOCK = 32
MIN_WEIGHTS = 1024
MIN_CONVOLUTION = 8192         # the small ones, at full and half resolution, are sensitive and weigh little
MIN_HALF = 16                  # smaller tensors are not worth a Cast
MICROSOFT = "com.microsoft"


def round_blocks(W, block=BLOCK):
    """[K, N] float -> codes [K, N] in 0..15, scales [N, nb] float16, zeros [N, nb]: per block of inputs the range, 0 included, in 15 steps."""
    K, N = W.shape
    nb = -(-K // block)
    x = np.zeros((nb * block, N), np.float32)
    x[:K] = W
    x = x.reshape(nb, block, N)
    lo, hi = np.minimum(x.min(1), 0), np.maximum(x.max(1), 0)                       # (nb, N)
    scale = np.maximum((hi - lo) / 15, 1e-8).astype(np.float16).astype(np.float32)
    zero = np.clip(np.round(-lo / np.maximum(scale, 1e-8)), 0, 15)
    codes = np.clip(np.round(x / np.maximum(scale, 1e-8)[:, None]) + zero[:, None], 0, 15).astype(np.uint8)
    return codes.reshape(nb * block, N)[:K], scale.T.astype(np.float16), zero.T.astype(np.uint8)


def channel_codes(W, scale, name):
    """[K, N] weights on the grid of scale [N] -> codes [K, N] int8 in -8..7; refuses weights that are not on it."""
    codes = np.round(W / scale)
    if np.abs(codes * scale - W).max() > 1e-3 * np.abs(scale).max() or codes.min() < -8 or codes.max() > 7:
        raise SystemExit(f"{name} does not lie on its 4-bit grid: the scales are of another checkpoint.")
    return codes.astype(np.int8)


def nibbles(codes):
    """Pairs of 4-bit codes along the last axis to bytes, the first in the low half."""
    codes = codes.astype(np.uint8) & 15
    if codes.shape[-1] % 2:
        codes = np.concatenate([codes, np.zeros((*codes.shape[:-1], 1), np.uint8)], -1)
    return codes[..., 0::2] | (codes[..., 1::2] << 4)


def block_of(K):
    """The block size, of those MatMulNBits knows, that divides K best: least padding, then fewest blocks."""
    return min((16, 32, 64, 128, 256), key=lambda b: (-(-K // b) * b, -b))


class Graph:
    """An ONNX graph being rewritten."""

    def __init__(self, model):
        self.model, self.graph = model, model.graph
        self.weights = {t.name: t for t in self.graph.initializer}
        self.readers = {}
        for n in self.graph.node:
            for name in n.input:
                self.readers.setdefault(name, []).append(n)

    def add(self, name, array):
        self.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def half(self, name, array):
        """Stored as float16; -> the node that widens it. Both carry names made from `name`."""
        self.add(name + ".half", array.astype(np.float16))
        return helper.make_node("Cast", [name + ".half"], [name], to=TensorProto.FLOAT)

    def linears(self):
        """weight name -> its MatMul nodes (bands share a weight)."""
        found = {}
        for n in self.graph.node:
            if n.op_type == "MatMul" and n.input[1] in self.weights:
                found.setdefault(n.input[1], []).append(n)
        return {w: nodes for w, nodes in found.items() if np.prod(self.weights[w].dims) >= MIN_WEIGHTS}

    def convolutions(self):
        """Names of the weights [O, I, h, w] of large convolutions."""
        names = {n.input[1] for n in self.graph.node if n.op_type == "Conv" and n.input[1] in self.weights}
        return [w for w in sorted(names) if np.prod(self.weights[w].dims) >= MIN_CONVOLUTION]

    def bias_after(self, node):
        """The Add of a 1-D initializer that alone reads `node`, and that initializer's name."""
        readers = self.readers.get(node.output[0], [])
        if len(readers) == 1 and readers[0].op_type == "Add":
            other = [i for i in readers[0].input if i != node.output[0]]
            if len(other) == 1 and other[0] in self.weights and len(self.weights[other[0]].dims) == 1:
                return readers[0], other[0]
        return None, None

    def replace(self, old, new):
        at = list(self.graph.node).index(old)
        self.graph.node.remove(old)
        self.graph.node.insert(at, new)


def pack_nbits(g, name, nodes, scales):
    W = numpy_helper.to_array(g.weights[name])
    K, N = W.shape
    widen = []
    if scales is None:
        block = BLOCK
        codes, scale, zero = round_blocks(W, block)
        extra = [g.add(name + ".zeros", nibbles(zero).reshape(-1))]
    else:
        block = block_of(K)
        codes = channel_codes(W, scales.astype(np.float32), name) + 8               # without zero points 8 stands for 0
        scale = np.repeat(scales[:, None].astype(np.float16), -(-K // block), 1)
        extra = []
    nb = -(-K // block)
    padded = np.full((nb * block, N), 8, np.uint8)
    padded[:K] = codes
    g.add(name + ".codes", nibbles(padded.T.reshape(N, nb, block)))
    widen.append(g.half(name + ".scales", scale.reshape(-1)))
    for n in nodes:
        g.replace(n, helper.make_node("MatMulNBits", [n.input[0], name + ".codes", name + ".scales", *extra], list(n.output), name=n.name,
                                      domain=MICROSOFT, K=K, N=N, bits=4, block_size=block))
    return widen


def pack_edge(g, name, nodes, scales):
    W = numpy_helper.to_array(g.weights[name])
    if scales is None:
        raise SystemExit(f"{name} has no scale per channel: the edge form needs a checkpoint trained in 4 bits.")
    codes = channel_codes(W, scales.astype(np.float32), name)
    tensor = TensorProto(name=name + ".codes", data_type=TensorProto.INT4, dims=W.shape, raw_data=nibbles(codes.reshape(-1)).tobytes())
    g.graph.initializer.append(tensor)
    widen = [helper.make_node("Cast", [name + ".codes"], [name + ".int8"], to=TensorProto.INT8), g.half(name + ".scales", scales)]
    for n in nodes:
        add, bias = g.bias_after(n)
        inputs = [n.input[0], name + ".int8", name + ".scales", ""] + ([bias] if add else [])
        g.replace(n, helper.make_node("DynamicQuantizeMatMul", inputs, list((add or n).output), name=n.name, domain=MICROSOFT))
        if add:
            g.graph.node.remove(add)
    return widen


def pack_convolution(g, name):
    """-> the nodes that make the weights when the file is loaded."""
    W = numpy_helper.to_array(g.weights[name])
    scale = (np.abs(W).max((1, 2, 3), keepdims=True) / 127).astype(np.float16)
    g.add(name + ".codes", np.round(W / np.maximum(scale.astype(np.float32), 1e-8)).clip(-127, 127).astype(np.int8))
    return [helper.make_node("Cast", [name + ".codes"], [name + ".wide"], to=TensorProto.FLOAT), g.half(name + ".scales", scale),
            helper.make_node("Mul", [name + ".wide", name + ".scales"], [name])]


def quantize(source, target, form="nbits", scales=None):
    """-> linears packed. `scales`: weight name -> float16 [N], or None for rounding to nearest."""
    model = onnx.load(source)
    g = Graph(model)
    pack = {"nbits": pack_nbits, "edge": pack_edge}[form]
    widen, linears = [], g.linears()
    for name, nodes in linears.items():
        widen += pack(g, name, nodes, None if scales is None else scales[name])
        g.graph.initializer.remove(g.weights[name])
    for name in g.convolutions():
        widen += pack_convolution(g, name)
        g.graph.initializer.remove(g.weights[name])
    for t in list(g.graph.initializer):
        if t.data_type == TensorProto.FLOAT and np.prod(t.dims) >= MIN_HALF:
            g.graph.initializer.remove(t)
            widen.append(g.half(t.name, numpy_helper.to_array(t)))
    for i, n in enumerate(widen):
        g.graph.node.insert(i, n)
    opsets = {o.domain: o for o in model.opset_import}
    if MICROSOFT not in opsets:
        model.opset_import.append(helper.make_opsetid(MICROSOFT, 1))
    if form == "edge":
        opsets[""].version = max(opsets[""].version, 21)                            # int4 tensors
        helper.set_model_props(model, {"windowsPerRun": "1"})
    model.ir_version = max(model.ir_version, 10)
    if not linears:
        raise SystemExit(f"{source} has no linear to pack.")
    onnx.save(model, target)
    return len(linears)


def read_scales(checkpoint):
    """The scales a checkpoint was trained with, by the name its weights have in ONNX; None if it was not."""
    scales = torch.load(checkpoint, map_location="cpu", weights_only=True).get("scales")
    return scales and {f"{name}.weight": s.half().numpy() for name, s in scales.items()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("source")
    parser.add_argument("--out", required=True)
    parser.add_argument("--form", choices=("nbits", "edge"), default="nbits")
    parser.add_argument("--checkpoint", help="holds the scales of a network trained in 4 bits")
    args = parser.parse_args()
    packed = quantize(args.source, args.out, args.form, read_scales(args.checkpoint) if args.checkpoint else None)
    print(f"{args.out}: {Path(args.out).stat().st_size:,} bytes, {packed} linears in 4 bits")
