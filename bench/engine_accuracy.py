"""Scores of a package's int4-edge variant on the validation split, computed by Tilewright's WebAssembly engine.

    python bench/engine_accuracy.py models/nuclei [--split val] [--limit 8] [--ort]      # from the root of the repository

Pictures, windows and scores are those of model/evaluate.py; only the network runs elsewhere. With --ort the same windows
also go through onnxruntime, and the two tables can be compared line by line.
"""
from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "model"))

import evaluate  # noqa: E402
import tasks  # noqa: E402


def engine_runner(path, channels, side, classes, build):
    """-> run: float32 [N, C, S, S] to logits [N, K, S, S], in a process of node."""
    command = ["node", str(ROOT / "bench/serve-engine.ts"), str(path), str(channels), str(side), *([build] if build else [])]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def run(x):
        out = np.empty((len(x), classes, side, side), np.float32)
        for n, window in enumerate(np.ascontiguousarray(x, np.float32)):
            process.stdin.write(window.tobytes())
            process.stdin.flush()
            out[n] = np.frombuffer(process.stdout.read(out[n].nbytes), np.float32).reshape(out[n].shape)
        return out
    return run


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("package", type=Path)
    parser.add_argument("--split", default="val")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--build", choices=("plain",), help="kernels without relaxed SIMD")
    parser.add_argument("--ort", action="store_true", help="onnxruntime too")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    manifest = json.loads((args.package / "model.json").read_text())
    task = tasks.load(manifest["name"])
    path = args.package / manifest["variants"]["int4-edge"]["files"][0]["path"]
    side, classes = manifest["window"]["size"][0], len(manifest["classes"])
    sets = task.sets_present(None) if "sets" in task.DATA_OPTIONS else None
    samples = task.load_split(args.split, None, args.limit, **({"sets": sets} if sets else {}))
    runs = {"engine": engine_runner(path, manifest["input"]["channels"], side, classes, args.build)}
    if args.ort:
        runs["onnxruntime"] = evaluate.open_session(path, 1)
    results = {}
    for name, run in runs.items():
        results[name] = task.evaluate(run, samples, None, window=side)
        evaluate.print_table(task, name, results[name])
    if args.json:
        args.json.write_text(json.dumps(results))


if __name__ == "__main__":
    main()
