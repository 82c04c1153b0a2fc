"""PyTorch with MONAI's SlidingWindowInferer, for bench/gpu.ts: the same network and windows.

    python bench/peers/gpu.py package <out directory>                      # the uncompressed nuclei network as a package
    python bench/peers/gpu.py run <height> <width> <batch> <seed>          # prints {"device", "runs": [{"precision", ...}]}

The network is model/checkpoints/nuclei-c48.pt on both sides: ours as ONNX in float32, rounded to 4 bits, and that in half precision. Accuracy is
no matter here. On a GPU float32 (TF32 off), float16 and bfloat16; on a CPU float32 alone. Needs torch, monai, onnx and onnxruntime.
"""
import json
import shutil
import sys
import time
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "model"))
CHECKPOINT = ROOT / "model" / "checkpoints" / "nuclei-c48.pt"


def package(out):
    import hashlib

    from evaluate import open_session
    from export_onnx import export, load_checkpoint
    from to_fp16 import add_to_package
    from package import golden_output, most_bands
    from quantize import quantize
    import tasks

    model, _ = load_checkpoint(CHECKPOINT)
    shipped, task = ROOT / "models" / "nuclei", tasks.load("nuclei")
    manifest = json.loads((shipped / "model.json").read_text())
    (out / "golden").mkdir(parents=True, exist_ok=True)
    shutil.copy(shipped / "golden" / "input.u8.bin", out / "golden")
    export(model, out / "fp32.onnx", most_bands(model.cfg.image_size))
    quantize(out / "fp32.onnx", out / "int4.onnx")
    spec = manifest["variants"]["int4"]["golden"]
    pixels = np.frombuffer((out / "golden" / "input.u8.bin").read_bytes(), np.uint8).reshape(spec["input"]["shape"])
    manifest["variants"] = {}
    for name in ("fp32", "int4"):
        content = (out / f"{name}.onnx").read_bytes()
        golden = golden_output(task, open_session(out / f"{name}.onnx"), pixels, spec["input"]["low"], spec["input"]["high"])
        (out / "golden" / f"{name}.bin").write_bytes(golden.tobytes())
        manifest["variants"][name] = {
            "files": [{"path": f"{name}.onnx", "byteLength": len(content), "sha256": hashlib.sha256(content).hexdigest()}],
            "input": "pixels", "output": "logits",
            "golden": spec | {"output": spec["output"] | {"path": f"golden/{name}.bin"}}}
    manifest |= {"defaultVariant": "int4", "golden": manifest["variants"]["int4"]["golden"]}
    (out / "model.json").write_text(json.dumps(manifest))
    add_to_package(out)
    print(json.dumps({"parameters": model.parameter_count()}))


def run(height, width, batch, seed):
    from monai.inferers import SlidingWindowInferer

    from export_onnx import load_checkpoint

    cuda = torch.cuda.is_available()
    device = torch.device("cuda" if cuda else "cpu")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    model, _ = load_checkpoint(CHECKPOINT)
    size = model.cfg.image_size
    runs = []
    for precision in (torch.float32, torch.float16, torch.bfloat16) if cuda else (torch.float32,):
        network = model.to(device, precision)
        inferer = SlidingWindowInferer((size, size), sw_batch_size=batch, overlap=0.25, mode="gaussian")
        inside, windows = 0.0, 0

        def predict(x):
            nonlocal inside, windows
            if cuda:
                torch.cuda.synchronize()
            began = time.perf_counter()
            out = network(x.to(precision)).float().softmax(1)
            if cuda:
                torch.cuda.synchronize()
            inside += time.perf_counter() - began
            windows += len(x)
            return out

        seconds = []
        for attempt in range(3):
            inside, windows = 0.0, 0
            if cuda:
                torch.cuda.synchronize()
            began = time.perf_counter()
            with torch.inference_mode():
                x = torch.from_numpy(pixels).to(device).permute(2, 0, 1)[None].float() / 127.5 - 1
                inferer(x, predict)[0].argmax(0).to(torch.uint8).cpu()
            seconds.append((time.perf_counter() - began, inside))
        total, inside = min(seconds[1:])
        runs.append({"precision": str(precision).removeprefix("torch."), "windows": windows, "seconds": total, "inModel": inside})
    name = torch.cuda.get_device_name() if cuda else "cpu"
    print(json.dumps({"device": name, "torch": torch.__version__, "runs": runs}))


if __name__ == "__main__":
    if sys.argv[1] == "package":
        package(Path(sys.argv[2]))
    else:
        run(*map(int, sys.argv[2:6]))
