"""Scores of ONNX files on a split, over whole pictures or volumes with sliding windows.

    python model/evaluate.py models/nuclei [--fp32 runs/nuclei/nuclei-fp32.onnx] [--split val] [--sets dsb2018 tnbc nuinsseg] [--json scores.json]
    python model/evaluate.py some.onnx other.onnx --task hippocampus

Nuclei: every set that is there, each with its kinds. A package names its task; bare ONNX files are taken for nuclei unless --task says otherwise. What is compared, at the picture's or the
volume's own resolution: the task's `predict` and `score`. Empty-class rules: metrics.py.
"""
from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")      # on by default; read when the runtime is loaded

import numpy as np
import onnxruntime as ort
import torch

import tasks


def open_session(path, threads=0):
    """-> run: float32 [N, C, S, S] to logits [N, K, S, S]."""
    return runner(start(path, threads))


def start(path, threads):
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def runner(session):
    def run(x):
        return session.run(["logits"], {"pixels": np.ascontiguousarray(x, np.float32)})[0]

    if session.get_modelmeta().custom_metadata_map.get("windowsPerRun") == "1":        # quantize.py, "edge"
        return lambda x: np.concatenate([run(window[None]) for window in x])
    return run


def evaluate_file(task, path, samples, threads=0, progress=None):
    """Scores of one ONNX file; its input says how large its windows are."""
    session, began = start(path, threads), time.time()
    _, channels, _, side = session.get_inputs()[0].shape
    if channels != task.IN_CHANNELS:
        raise ValueError(f"{path} takes {channels} channels, {task.NAME} has {task.IN_CHANNELS}")
    scores = task.evaluate(runner(session), samples, progress, window=side)
    return {"file": Path(path).name, "task": task.NAME, "seconds": round(time.time() - began, 1), **scores}


def print_table(task, title, result):
    print(f"\n{title}")
    print(f"{'':26}{'images':>7}" + "".join(f"{heading:>10}" for heading in task.SCORES.values()))
    for name, s in [("all", result), *result[task.PARTS].items()]:
        print(f"{name:26}{s['images']:7}" + "".join(f"{s[k]:10.4f}" if s[k] is not None else f"{'-':>10}" for k in task.SCORES)
              + (f"  (+{s['hd95Infinite']} where one side is empty)" if "hd95Infinite" in s else ""))


def package_files(folder):
    """-> the task a package names, and its variants' ONNX files."""
    manifest = json.loads((folder / "model.json").read_text())
    return manifest["name"], [folder / v["files"][0]["path"] for v in manifest["variants"].values()]


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("models", nargs="+", help="ONNX files or package directories")
    parser.add_argument("--task", help=f"one of {', '.join(tasks.NAMES)}; default: what the packages are named, or nuclei")
    parser.add_argument("--fp32", help="a float32 ONNX file to score beside the package's own variants")
    parser.add_argument("--split", default="val")
    parser.add_argument("--data", help="the data set's folder")
    parser.add_argument("--sets", nargs="+", help="of nuclei: which; default: all that are there")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--limit", type=int, help="only the first N pictures (of each set)")
    parser.add_argument("--mpp", type=float, help="of nuclei: as a scan with such pixels, in micrometres")
    parser.add_argument("--quality", type=int, help="of that scan, as JPEG (1 to 95)")
    parser.add_argument("--json", help="write everything, per picture, here")
    args = parser.parse_args()
    torch.set_num_threads(args.threads or os.cpu_count())
    files, names = [args.fp32] if args.fp32 else [], set()
    for m in map(Path, args.models):
        if not m.exists():
            sys.exit(f"There is no {m}.")
        if m.is_dir():
            name, variants = package_files(m)
            names.add(name)
            files += variants
        else:
            files.append(m)
    if len(names) > 1 and not args.task:
        sys.exit(f"The packages are of different tasks ({', '.join(sorted(names))}); score them one at a time.")
    try:
        task = tasks.load(args.task or (names.pop() if names else "nuclei"))
        sets = args.sets or (task.sets_present(args.data) if "sets" in task.DATA_OPTIONS else None)
        samples = task.load_split(args.split, args.data, args.limit, **({"sets": sets} if sets else {}))
    except (ValueError, OSError) as e:
        sys.exit(str(e))
    if args.quality and not args.mpp:
        sys.exit("--quality belongs to --mpp.")
    if args.mpp:
        if not hasattr(task, "as_scan"):
            sys.exit(f"--mpp is for nuclei, not for {task.NAME}.")
        samples = [task.as_scan(s, args.mpp, args.quality) for s in samples]
    results = []
    for f in files:
        r = evaluate_file(task, f, samples, args.threads)
        results.append(r)
        print_table(task, f"{f}  ({args.split}, {r['seconds']} s)", r)
    if args.json:
        Path(args.json).write_text(json.dumps({"split": args.split, "results": results}, indent=1))
