"""Write a model package: model.json, the ONNX files of its variants, their golden tiles.

    python model/package.py runs/nuclei-int4/best.pt --parent model/checkpoints/nuclei-c48.pt --out models/nuclei
    python model/package.py runs/nuclei/best.pt --out models/nuclei            # not trained in 4 bits: rounded, no edge variant

Exports, packs, scores every variant and the parent (the float32 network) on val, describes the training pictures (`domain`; both need
the data, skip them with --no-score), measures memory, writes. The
float32 ONNX files stay beside the checkpoint. The new package replaces the old one only when everything succeeded.
"""
from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

import domain_statistics
import tasks
from evaluate import evaluate_file, open_session, print_table
from export_onnx import count_macs, export, load_checkpoint, offset_logits
from to_fp16 import describe_half, to_fp16
from quantize import quantize, read_scales
from sliding import softmax
from swin_unet import SwinUnet, SwinUnetConfig

VERSION = "0.8.0"
MOST_BANDS = 14
# Probability units. On the nuclei golden tile, against the stored bytes, whose own rounding is 0.0020 at most and 0.0011 on average:
#   right  unoptimised graph 0.0020, 0.0011; scales and norms in float16 0.0035, 0.0011; int8 activations in every 4-bit
#          kernel 0.0152, 0.0011
#   wrong  zero points ignored 0.30, 0.0048; channels reversed 0.49, 0.0098; another variant's weights (float32) 0.11, 0.0020
TOLERANCE = {"maxAbs": 0.05, "meanAbs": 0.003}


def sha256(path):
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def most_bands(image_size):
    """The largest number of bands up to MOST_BANDS that divides the token rows."""
    return max(n for n in range(1, MOST_BANDS + 1) if image_size // 4 % n == 0)


def golden_output(task, run, pixels, low, high):
    """pixels [1, S, S, C] uint8 -> probabilities [1, K, S, S] as uint8 of 255."""
    x = (((pixels.astype(np.float32) - low) / (high - low)).clip(0, 1) * task.SCALE + task.OFFSET).transpose(0, 3, 1, 2)
    return np.round(255 * softmax(run(x))).astype(np.uint8)


def peak_memory(path, channels, size):
    """Growth of a fresh process's peak RSS over loading the file and running one window on one thread, arena off (Linux)."""
    code = """
import sys, numpy as np, onnxruntime as ort
o = ort.SessionOptions(); o.enable_cpu_mem_arena = False; o.enable_mem_pattern = False; o.intra_op_num_threads = 1
# not getrusage: that peak is inherited from the parent
peak = lambda: 1024 * int(next(l for l in open("/proc/self/status") if l.startswith("VmHWM")).split()[1])
before = peak()
s = ort.InferenceSession(sys.argv[1], o, providers=["CPUExecutionProvider"])
c, n = int(sys.argv[2]), int(sys.argv[3])
s.run(None, {"pixels": np.zeros((1, c, n, n), np.float32)})
print(peak() - before)
"""
    return int(subprocess.run([sys.executable, "-c", code, str(path), str(channels), str(size)],
                              capture_output=True, text=True, check=True).stdout)


def headline(task, result):
    """Of several sets the first, which packages before it had alone."""
    return result[task.PARTS].get(task.FIRST_SET, result)


def accuracy(task, result):
    """The headline scores, then Dice, AJI and F1 of every further set; HD95 is left out, for a mean of it says nothing without the
    count of infinite ones."""
    out = {"dataset": task.DATASET, "split": "val", **{k: headline(task, result)[k] for k in task.SCORES if k != "hd95"}}
    for name, scores in result[task.PARTS].items():
        if task.FIRST_SET in result[task.PARTS] and name in task.SETS and name != task.FIRST_SET:
            out |= {f"{name}{k[0].upper()}{k[1:]}": scores[k] for k in ("dice", "aji", "f1At50", "fragments")}
    return out


def score_files(task, files, data, threads, limit, options):
    """{"fp32": path, ...} -> {"fp32": scores on val, ...}, printed as they come."""
    samples, scores = task.load_split("val", data, limit, **options), {}
    for name, path in files.items():
        scores[name] = evaluate_file(task, path, samples, threads)
        print_table(task, f"{name} ({scores[name]['seconds']} s)", scores[name])
        sys.stdout.flush()
    return scores


def pruned_share(model):
    """Of the parameters of the same network before any pruning: what is gone, 0 to 1."""
    whole = SwinUnet(replace(model.cfg, hidden=None, kept_heads=None, detail_width=SwinUnetConfig.detail_width))
    return round(1 - model.parameter_count() / whole.parameter_count(), 4)


def describe_variant(task, model, path, form):
    variant = {
        "files": [{"path": path.name, "byteLength": path.stat().st_size, "sha256": sha256(path)}],
        "input": "pixels", "output": "logits", "parameters": model.parameter_count(), "macs": count_macs(model), "bits": 4,
        "sparsity": pruned_share(model),
        "memoryBytes": peak_memory(path, task.IN_CHANNELS, model.cfg.image_size),
    }
    return variant | ({"windowsPerRun": 1} if form == "edge" else {})


def build_manifest(task, model, step, variants, golden, domain=None):
    S, about = model.cfg.image_size, task.PACKAGE
    manifest = {
        "formatVersion": 1, "name": task.NAME, "version": VERSION, "license": about["license"],
        "description": f"{about['description']} Swin-Unet, width {model.cfg.width}, 4-bit; {step} training steps.",
        "trainingData": about["trainingData"], "classes": about["classes"], "input": about["input"],
        "window": {"size": [S, S], "overlapRatio": 0.25, "importance": "gaussian", "policy": "monai"},
        "output": {"activation": "softmax"},
    }
    if "objects" in about:
        manifest["objects"] = about["objects"]
    if domain:
        manifest["domain"] = domain
    return manifest | {"defaultVariant": "int4", "variants": variants, "golden": golden}


def write_package(out, task, manifest, files):
    """`files`: name -> bytes. What an older package had and this one has not goes."""
    (out / "golden").mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (out / (name + ".part")).write_bytes(content)
        os.replace(out / (name + ".part"), out / name)
    (out / "LICENSE").write_text(task.LICENSE)
    (out / "model.json").write_text(json.dumps(manifest, indent=2) + "\n")
    for old in out.rglob("*.*"):
        if str(old.relative_to(out)) not in {*files, "LICENSE", "model.json"}:
            old.unlink()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("checkpoint")
    parser.add_argument("--parent", help="checkpoint of the float32 network that it was quantised from, to be scored beside it")
    parser.add_argument("--task", help="default: what the checkpoint was trained for, which it must be")
    parser.add_argument("--out", required=True)
    parser.add_argument("--bands", type=int, help=f"default: the most up to {MOST_BANDS} that divide the token rows")
    parser.add_argument("--offsets", type=float, nargs="+", help="added to the logits, one per class; chosen on val")
    parser.add_argument("--data", help="the data set's folder")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--limit", type=int, help="score only the first N pictures (for a package in a hurry)")
    parser.add_argument("--no-score", action="store_true")
    parser.add_argument("--half", action="store_true", help="add a companion in half precision to the int4 variant (to_fp16.py)")
    args = parser.parse_args()

    out, work = Path(args.out), Path(args.checkpoint).parent
    model, saved = load_checkpoint(args.checkpoint)
    name = tasks.name_of(saved["config"])
    if args.task and args.task != name:
        sys.exit(f"{args.checkpoint} was trained for {name}, not for {args.task}.")
    task = tasks.load(name)
    bands = args.bands or most_bands(model.cfg.image_size)
    options, to_score, parent = tasks.data_options(task, saved["config"]), {}, None
    if args.parent:
        parent, _ = load_checkpoint(args.parent)
        to_score["fp32"] = work / f"{name}-parent.onnx"
        export(parent, to_score["fp32"], bands)
        print(f"fp32 file {to_score['fp32'].stat().st_size:,} bytes, {parent.parameter_count():,} parameters", flush=True)
    if args.offsets:
        offset_logits(model, args.offsets)
    plain = work / f"{name}-fp32.onnx"
    worst = export(model, plain, bands)
    print(f"step {saved['step']}: {model.parameter_count():,} parameters, torch and ONNX differ by {worst:.1e}", flush=True)
    scales = read_scales(args.checkpoint)
    forms = {"int4": "nbits", "int4-edge": "edge"} if scales else {"int4": "nbits"}
    paths = {variant: work / f"{name}-{variant}.onnx" for variant in forms}
    for variant, form in forms.items():
        packed = quantize(plain, paths[variant], form, scales)
        print(f"{variant}: {packed} linears packed, {paths[variant].stat().st_size:,} bytes", flush=True)

    variants = {v: describe_variant(task, model, paths[v], form) for v, form in forms.items()}
    if not args.no_score:
        scores = score_files(task, to_score | paths, args.data, args.threads, args.limit, options)
        (work / "scores.json").write_text(json.dumps(scores, indent=1))
        if not args.limit:
            for v in variants:
                variants[v]["accuracy"] = accuracy(task, scores[v])
                if "fp32" in scores:
                    variants[v]["accuracy"]["diceOfFp32"] = headline(task, scores["fp32"])["dice"]

    pixels = task.golden_input(model.cfg.image_size)
    low, high = task.percentile_range(pixels)
    # The variants hold the same weights, so one answer is right for all: that of float32 activations. A runtime that rounds them is
    # compared with it, not with another runtime's rounding.
    output = golden_output(task, open_session(paths["int4"]), pixels, low, high)
    files = {"golden/input.u8.bin": pixels.tobytes(), "golden/output.u8.bin": output.tobytes()}
    for v, path in paths.items():
        files |= {path.name: path.read_bytes()}
        variants[v]["golden"] = {
            "input": {"path": "golden/input.u8.bin", "shape": list(pixels.shape), "dtype": "uint8", "low": low, "high": high},
            "output": {"path": "golden/output.u8.bin", "shape": list(output.shape), "dtype": "uint8"}, "tolerance": TOLERANCE}
        own = golden_output(task, open_session(path), pixels, low, high)
        off = np.abs(own / 255 - output / 255)
        print(f"{v}: golden tile off by {off.max():.4f} (mean {off.mean():.5f})")
        if off.max() > TOLERANCE["maxAbs"] or off.mean() > TOLERANCE["meanAbs"]:
            sys.exit(f"That is more than {TOLERANCE}. Nothing was written.")
        if args.half and forms[v] == "nbits":
            companion = work / f"{name}-{v}-half.onnx"
            to_fp16(path, companion)
            off = np.abs(golden_output(task, open_session(companion), pixels, low, high) / 255 - output / 255)
            print(f"{v} in half precision: golden tile off by {off.max():.4f} (mean {off.mean():.5f})")
            if off.max() > TOLERANCE["maxAbs"] or off.mean() > TOLERANCE["meanAbs"]:
                sys.exit(f"That is more than {TOLERANCE}. Nothing was written.")
            files[companion.name] = companion.read_bytes()
            variants[v]["half"] = describe_half(companion)
        counts = np.bincount(output.argmax(1).ravel(), minlength=len(task.CLASSES))
        print(f"{v}: golden tile holds classes {counts.tolist()}")
    domain = None
    if not args.no_score:
        domain = domain_statistics.describe(task, task.load_split("train", args.data, **options))
    write_package(out, task, build_manifest(task, model, saved["step"], variants, variants["int4"]["golden"], domain), files)
    print(f"{out}: {sum(f.stat().st_size for f in out.rglob('*') if f.is_file()):,} bytes")


if __name__ == "__main__":
    main()
