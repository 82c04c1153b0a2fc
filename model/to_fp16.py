"""A companion of a 4-bit ONNX file that computes in float16, for devices that are faster so; in and out stay float32.

    python model/to_fp16.py models/nuclei                     # adds it to the package: every MatMulNBits variant
    python model/to_fp16.py some-int4.onnx --out some-half.onnx

Codes stay 4-bit and MatMulNBits stays: its activations and scales become float16. LayerNormalization keeps its mean and variance in
float32 by the standard (stash_type 1). Weights that are stored in float16 are read as they are. Ends by comparing the golden tile with the
variant's own and refuses what is further off than the package allows.
"""
from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from evaluate import open_session
from sliding import softmax

LARGEST = 65504


def narrowed(tensor):
    """A float32 tensor as float16, under its own name."""
    values = numpy_helper.to_array(tensor)
    if np.abs(values).max(initial=0) > LARGEST:
        raise SystemExit(f"{tensor.name} holds {np.abs(values).max():.3g}, more than float16 can.")
    return numpy_helper.from_array(values.astype(np.float16), tensor.name)


def to_fp16(source, target):
    """-> nodes of the new file. Its input and output are float32 still."""
    model = onnx.load(source)
    graph = model.graph
    if not any(n.op_type == "MatMulNBits" for n in graph.node):
        raise SystemExit(f"{source} has no MatMulNBits; half precision is made from that form.")
    # A shift mask is made of regions, integers that are compared once, on loading. The CPU does that, and only without float16.
    compared = {i for n in graph.node if n.op_type == "Equal" for i in n.input}
    equal = {n.output[0] for n in graph.node if n.op_type == "Equal"}
    masks = [n for n in graph.node if n.op_type == "Where" and n.input[0] in equal]
    wide = {i for n in masks for i in n.input}
    for t in graph.initializer:
        if t.data_type == TensorProto.FLOAT and t.name not in wide:
            t.CopyFrom(narrowed(t))
    stored = {t.name for t in graph.initializer if t.data_type == TensorProto.FLOAT16}
    rename = {}
    for n in list(graph.node):
        for a in n.attribute:
            if a.type == onnx.AttributeProto.TENSOR and a.t.data_type == TensorProto.FLOAT:
                a.t.CopyFrom(narrowed(a.t))
        if n.op_type != "Cast" or n.attribute[0].i != TensorProto.FLOAT:
            continue
        if n.output[0] in compared:
            n.attribute[0].i = TensorProto.INT32
        elif n.input[0] in stored:
            rename[n.output[0]] = n.input[0]
            graph.node.remove(n)
        else:
            n.attribute[0].i = TensorProto.FLOAT16
    for n in masks:
        name = n.output[0]
        n.output[0] = name + ".wide"
        graph.node.insert(list(graph.node).index(n) + 1, helper.make_node("Cast", [n.output[0]], [name], to=TensorProto.FLOAT16))
    fed, given = graph.input[0].name, graph.output[0].name
    rename[fed] = fed + ".half"
    for n in graph.node:
        for i, name in enumerate(n.input):
            n.input[i] = rename.get(name, name)
        for i, name in enumerate(n.output):
            n.output[i] = given + ".half" if name == given else name
    graph.node.insert(0, helper.make_node("Cast", [fed], [fed + ".half"], to=TensorProto.FLOAT16))
    graph.node.append(helper.make_node("Cast", [given + ".half"], [given], to=TensorProto.FLOAT))
    del graph.value_info[:]
    onnx.save(model, target)
    return len(graph.node)


def golden_difference(package, manifest, variant, path):
    """Largest and mean difference in probability from the variant's golden output, which is rounded to bytes."""
    golden = variant.get("golden") or manifest["golden"]
    load = lambda part: np.frombuffer((package / part["path"]).read_bytes(), np.uint8).reshape(part["shape"])
    normalization, spec = manifest["input"]["normalization"], golden["input"]
    x = (load(spec).astype(np.float32) - spec["low"]) / (spec["high"] - spec["low"])
    if "clip" in normalization:
        x = x.clip(*normalization["clip"])
    x = x * normalization.get("scale", 1) + normalization.get("offset", 0)
    difference = np.abs(softmax(open_session(path)(x.transpose(0, 3, 1, 2))) - load(golden["output"]) / 255)
    return float(difference.max()), float(difference.mean()), golden["tolerance"]


def describe_half(path):
    content = path.read_bytes()
    return {"path": path.name, "byteLength": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def add_to_package(package):
    manifest = json.loads((package / "model.json").read_text())
    for name, variant in manifest["variants"].items():
        source = package / variant["files"][0]["path"]
        if not any(n.op_type == "MatMulNBits" for n in onnx.load(source).graph.node):
            continue
        target = source.with_name(source.stem + "-half.onnx")
        part = target.with_suffix(".part")
        to_fp16(source, part)
        largest, mean, allowed = golden_difference(package, manifest, variant, part)
        print(f"{name}: {part.stat().st_size:,} bytes, golden tile off by {largest:.4f} (mean {mean:.5f})")
        if not (largest <= allowed["maxAbs"] and mean <= allowed["meanAbs"]):
            part.unlink()
            sys.exit(f"{name} in half precision is further off than {allowed}. Nothing was written.")
        os.replace(part, target)
        described = {"files": variant["files"], "half": describe_half(target)}
        manifest["variants"][name] = described | {k: v for k, v in variant.items() if k not in described}
    text = json.dumps(manifest, indent=2) + "\n"
    (package / "model.json.part").write_text(text)
    os.replace(package / "model.json.part", package / "model.json")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("source", help="a package directory, or an ONNX file with --out")
    parser.add_argument("--out")
    args = parser.parse_args()
    if Path(args.source).is_dir():
        add_to_package(Path(args.source))
    elif args.out:
        nodes = to_fp16(args.source, args.out)
        print(f"{args.out}: {Path(args.out).stat().st_size:,} bytes, {nodes} nodes")
    else:
        sys.exit("Name where the file goes with --out.")
