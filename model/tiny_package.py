"""The package that tests run where a full window would take minutes, as on a software GPU: a 64x64 Swin-Unet of width 8.

    python model/tiny_package.py            # writes test/fixtures/tiny-swin

Every operator of the shipped networks at a hundredth of their work. Weights are random and seeded; the classifier's are enlarged, so that the
probabilities spread from 0 to 1. The golden tile is noise of all frequencies.
"""
from __future__ import annotations

import hashlib
import json
import tempfile
from pathlib import Path

import numpy as np
import torch

from evaluate import open_session
from export_onnx import export
from to_fp16 import add_to_package
from quantize import quantize
from sliding import softmax
from swin_unet import SwinUnet, SwinUnetConfig

OUT = Path(__file__).parent.parent / "test" / "fixtures" / "tiny-swin"
SIZE, LOW, HIGH = 64, 10, 240
CONFIG = dict(image_size=SIZE, width=8, heads=(1, 2, 4, 8), attention_window=2, drop_path=0.0, stem="conv", detail=8, detail_layers=2,
              head_width=8, position_kernel=3, depths=(2, 1, 1, 1))
SPREAD = 100                   # of the logits: brings their standard deviation to about 3


def golden_pixels():
    """[1, 64, 64, 3] uint8: noise at every scale."""
    rng = np.random.default_rng(7)
    total = sum(np.kron(rng.standard_normal((SIZE // k, SIZE // k, 3)), np.ones((k, k, 1))) * k ** 0.5 for k in (1, 2, 4, 8, 16, 32))
    spread = (total - total.min()) / (total.max() - total.min())
    return np.round(255 * spread).astype(np.uint8)[None]


def main():
    torch.manual_seed(1)
    model = SwinUnet(SwinUnetConfig(**CONFIG)).eval()
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "position" in name:
                p.normal_(std=0.1)                     # zero at the start of training: an operator that does nothing proves nothing
        model.head.classify.weight.mul_(SPREAD)
    (OUT / "golden").mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as work:
        export(model, Path(work) / "fp32.onnx", bands=4)
        quantize(Path(work) / "fp32.onnx", OUT / "tiny-int4.onnx")
    pixels = golden_pixels()
    x = ((pixels.astype(np.float32) - LOW) / (HIGH - LOW)).clip(0, 1) * 2 - 1
    logits = open_session(OUT / "tiny-int4.onnx")(x.transpose(0, 3, 1, 2))
    output = np.round(255 * softmax(logits)).astype(np.uint8)
    print(f"logits {logits.mean():.2f} +- {logits.std():.2f}, classes {np.bincount(output.argmax(1).ravel(), minlength=3).tolist()}")
    (OUT / "golden" / "input.bin").write_bytes(pixels.tobytes())
    (OUT / "golden" / "output.bin").write_bytes(output.tobytes())
    content = (OUT / "tiny-int4.onnx").read_bytes()
    manifest = {
        "formatVersion": 1, "name": "tiny-swin", "version": "1.0.0", "license": "Apache-2.0",
        "classes": [{"name": n, "color": c} for n, c in (("background", "#000000"), ("one", "#00c000"), ("two", "#c0c000"))],
        "input": {"axes": "yx", "channels": 3, "dtype": "float32", "spacing": {"y": 0.5, "x": 0.5, "unit": "micrometer"},
                  "normalization": {"kind": "range", "low": LOW, "high": HIGH, "clip": [0, 1], "scale": 2, "offset": -1}},
        "window": {"size": [SIZE, SIZE]}, "output": {"activation": "softmax"}, "defaultVariant": "int4",
        "variants": {"int4": {"files": [{"path": "tiny-int4.onnx", "byteLength": len(content), "sha256": hashlib.sha256(content).hexdigest()}],
                              "input": "pixels", "output": "logits"}},
        "golden": {"input": {"path": "golden/input.bin", "shape": [1, SIZE, SIZE, 3], "dtype": "uint8", "low": LOW, "high": HIGH},
                   "output": {"path": "golden/output.bin", "shape": [1, 3, SIZE, SIZE], "dtype": "uint8"},
                   "tolerance": {"maxAbs": 0.05, "meanAbs": 0.003}},
    }
    (OUT / "model.json").write_text(json.dumps(manifest, indent=2) + "\n")
    add_to_package(OUT)


if __name__ == "__main__":
    main()
