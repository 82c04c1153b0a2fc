"""MONAI's SlidingWindowInferer on the same slide, windows, network and runtime: file to label map.

    python bench/peers/monai_sliding_window.py <slide> <package directory> <threads>

Prints one JSON line: seconds in total and inside the model, windows, peak memory. Needs monai, torch, tifffile,
imagecodecs, onnxruntime. The slide is decoded whole, as MONAI's own whole-slide readers hand it over.
"""
import io
import json
import os
import resource
import sys
import time

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")      # on by default; read when the runtime is loaded

import numpy as np
import onnxruntime as ort
import tifffile
import torch
from monai.inferers import SlidingWindowInferer

slide, package, threads = sys.argv[1], sys.argv[2], int(sys.argv[3])
torch.set_num_threads(threads)
with open(os.path.join(package, "model.json")) as f:
    manifest = json.load(f)
variant = manifest["variants"][manifest["defaultVariant"]]
options = ort.SessionOptions()
options.intra_op_num_threads = threads
session = ort.InferenceSession(os.path.join(package, variant["files"][0]["path"]), options, providers=["CPUExecutionProvider"])
size = manifest["window"]["size"]
session.run(None, {variant["input"]: np.zeros((4, 3, *size), np.float32)})

in_model, windows = 0.0, 0


def predict(batch):
    global in_model, windows
    started = time.perf_counter()
    out = session.run([variant["output"]], {variant["input"]: batch.numpy()})[0]
    in_model += time.perf_counter() - started
    windows += len(batch)
    return torch.from_numpy(out).softmax(1)


started = time.perf_counter()
pixels = tifffile.imread(slide, key=0)
n = manifest["input"]["normalization"]
low, high = np.percentile(pixels, [n["low"], n["high"]])
x = np.clip((pixels.astype(np.float32) - np.float32(low)) / np.float32(high - low), *n.get("clip", (-np.inf, np.inf)))
x = torch.from_numpy(x * n.get("scale", 1) + n.get("offset", 0)).permute(2, 0, 1)[None]
inferer = SlidingWindowInferer(size, sw_batch_size=4, overlap=manifest["window"]["overlapRatio"], mode="gaussian")
with torch.inference_mode():
    labels = inferer(x, predict)[0].argmax(0).to(torch.uint8).numpy()
tifffile.imwrite(io.BytesIO(), labels, compression="zlib")
total = time.perf_counter() - started
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps({"total": total, "model": in_model, "windows": windows, "peakBytes": peak}))
