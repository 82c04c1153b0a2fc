"""Weights of the linears to 4 bits: block-wise (32 along the input), asymmetric, round to nearest (MatMulNBits).

    python model/quantize.py runs/nuclei/nuclei-fp32.onnx --out runs/nuclei/nuclei-int4.onnx

Left in float32: convolutions, norms, bias tables, and linears so small that a block would not pay (under MIN_WEIGHTS).
"""
from __future__ import annotations

import argparse
import logging
from pathlib import Path

import onnx
from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

BLOCK = 32
MIN_WEIGHTS = 1024
# accuracy_level 4 lets the CPU kernel multiply in int8 and rounds the activations to 8 bits, which no other backend does.
# At width 48 it does not pay (one thread, CPU seconds a window: off 0.051; on from K = 768, 384, 192, 96: 0.051, 0.050,
# 0.052, 0.056), so it is off. Wider networks may want --int8-from-k 768.
INT8_FROM_K = 100_000


def quantize(source, target, int8_from_k=INT8_FROM_K):
    logging.getLogger("onnxruntime.quantization.matmul_nbits_quantizer").setLevel(logging.WARNING)    # a line per node
    model = onnx.load(source)
    weights = {t.name: t for t in model.graph.initializer}
    small = [n.name for n in model.graph.node if n.op_type == "MatMul" and n.input[1] in weights
             and weights[n.input[1]].dims[0] * weights[n.input[1]].dims[1] < MIN_WEIGHTS]
    q = MatMulNBitsQuantizer(model, bits=4, block_size=BLOCK, is_symmetric=False, nodes_to_exclude=small,
                             op_types_to_quantize=("MatMul",))
    q.process()
    packed = 0
    for n in q.model.model.graph.node:
        if n.op_type != "MatMulNBits":
            continue
        packed += 1
        attributes = {a.name: a for a in n.attribute}
        if attributes["K"].i >= int8_from_k:
            if "accuracy_level" in attributes:
                attributes["accuracy_level"].i = 4
            else:
                n.attribute.append(onnx.helper.make_attribute("accuracy_level", 4))
    left = [n.name for n in q.model.model.graph.node if n.op_type == "MatMul" and n.input[1] in weights and n.name not in small]
    if left or not packed:
        raise SystemExit(f"{packed} linears packed, {len(left)} missed: {left[:3]}")
    onnx.save(q.model.model, target)
    return packed, len(small)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("source")
    parser.add_argument("--out", required=True)
    parser.add_argument("--int8-from-k", type=int, default=INT8_FROM_K)
    args = parser.parse_args()
    packed, small = quantize(args.source, args.out, args.int8_from_k)
    print(f"{args.out}: {Path(args.out).stat().st_size:,} bytes, {packed} linears in 4 bits, {small} small ones left in float32")
