"""MONAI's SlidingWindowInferer over a volume: NIfTI to label map, for bench/volume.ts.

    python bench/peers/monai_volume.py <volume.nii> <package directory> <threads>

Same windows, network and runtime as ours. Prints one JSON line: seconds in total and inside the model, windows, peak memory.
Needs monai, torch, nibabel, onnxruntime.
"""
import json
import os
import resource
import sys
import time

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")      # on by default; read when the runtime is loaded

import nibabel as nib
import numpy as np
import onnxruntime as ort
import torch
from monai.inferers import SlidingWindowInferer

volume, package, threads = sys.argv[1], sys.argv[2], int(sys.argv[3])
torch.set_num_threads(threads)
with open(os.path.join(package, "model.json")) as f:
    manifest = json.load(f)
variant = manifest["variants"][manifest["defaultVariant"]]
options = ort.SessionOptions()
options.intra_op_num_threads = threads
session = ort.InferenceSession(os.path.join(package, variant["files"][0]["path"]), options, providers=["CPUExecutionProvider"])
size = manifest["window"]["size"]
in_model, windows = 0.0, 0


def predict(batch):
    global in_model, windows
    started = time.perf_counter()
    out = session.run([variant["output"]], {variant["input"]: batch.numpy()})[0]
    in_model += time.perf_counter() - started
    windows += len(batch)
    return torch.from_numpy(out).softmax(1)


started = time.perf_counter()
file = nib.load(volume)
n = manifest["input"]["normalization"]
x = np.asarray(file.dataobj).astype(np.float32).transpose(2, 1, 0)
x = np.clip((x - n["low"]) / (n["high"] - n["low"]), *n["clip"])
x = torch.from_numpy(np.ascontiguousarray(x, np.float32))[None, None]
inferer = SlidingWindowInferer(size, sw_batch_size=4, overlap=manifest["window"]["overlapRatio"], mode="gaussian")
with torch.inference_mode():
    labels = inferer(x, predict)[0].argmax(0).to(torch.uint8).numpy()
nib.save(nib.Nifti1Image(labels.transpose(2, 1, 0), file.affine), os.path.join(package, "labels.nii.gz"))
total = time.perf_counter() - started
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps({"total": total, "model": in_model, "windows": windows, "peakBytes": peak}))
