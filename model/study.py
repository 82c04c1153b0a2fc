"""Every row of configs/study.toml, measured; resumable row by row, also from the committed study.json alone.

    python model/study.py model/configs/study.toml --out runs/study --budget cpu --jobs 2
    python model/study.py model/configs/study.toml --out runs/study --only qat-row,structured-int4     # some rows
    python model/study.py model/configs/study.toml --out runs/study --report                           # only write the report again

Workers of one thread each take rows in order and leave OUT/rows/KIND-NAME-SEED.json for every row that is done; a row whose settings
have not changed since is not run again. The report is written as rows come in: model/study.json and model/STUDY.md.
"""
from __future__ import annotations

import argparse
import copy
import functools
import hashlib
import json
import math
import os
import subprocess
import sys
import time
import tomllib
import traceback
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

import baselines
import study_report
import tasks
from compress import bake, compress, set_sparsity, stepwise, targets
from packed import packed_size
from structured_pruning import importance, shrink
from export_onnx import load_checkpoint
from losses import segmentation_loss
from swin_unet import SwinUnet, SwinUnetConfig, load_weights

HERE = Path(__file__).parent
PRUNE_ROUNDS = 4


# Read once per worker.
@functools.cache
def train_crops(task):
    return task.Sampler(task.load_split("train"), task.WINDOW)


@functools.cache
def val_samples(task):
    return task.load_split("val")


# ---- training

class Recipe:
    """One recipe for every network: AdamW, warm-up, constant, linear decay, averaged weights."""

    def __init__(self, study, budget, task, seed):
        self.r, self.b, self.task, self.seed = study["recipe"], budget, task, seed
        self.class_weights = torch.tensor(self.r["class_weights"])
        self.autocast = torch.autocast("cpu", torch.bfloat16)
        self.sampler = copy.copy(train_crops(task))
        self.sampler.rng, self.sampler.plain = np.random.default_rng(seed), self.r["plain_share"]

    def loss(self, logits, classes, weights):
        return segmentation_loss(logits, classes, self.class_weights, weights)

    def train(self, model, steps, rate, before_step=None, teacher=None):
        """-> the model with its averaged weights. before_step(step) may change masks."""
        model.train()
        learned = [p for p in model.parameters() if p.requires_grad]
        scales = {id(p) for n, p in model.named_parameters() if n.endswith((".scale", ".pair"))}
        heavy = [p for p in learned if p.ndim > 1 and id(p) not in scales]
        light = [p for p in learned if p.ndim <= 1 or id(p) in scales]
        optimizer = torch.optim.AdamW([{"params": heavy, "weight_decay": self.r["weight_decay"]}, {"params": light, "weight_decay": 0.0}],
                                      lr=rate, betas=tuple(self.r["betas"]), fused=True)
        averages = [p.detach().clone() for p in learned]
        warmup, decay = max(1, min(self.r["warmup_steps"], steps // 5)), self.r["decay_share"] * steps
        for step in range(steps):
            if before_step:
                before_step(step)
            now = rate * min(1, (step + 1) / warmup) * min(1, max(0.01, (steps - step) / decay))
            for group in optimizer.param_groups:
                group["lr"] = now
            pixels, classes, weights = self.sampler.batch(self.b["batch"])
            with self.autocast:
                logits = model(pixels)
            loss = self.loss(logits, classes, weights)
            if teacher is not None:
                with torch.inference_mode(), self.autocast:
                    said = teacher(pixels).float().softmax(1)
                far = F.kl_div(logits.float().log_softmax(1), said.clone(), reduction="none").sum(1)
                loss = 0.5 * loss + 0.5 * (far * weights).sum() / weights.sum()
            if not math.isfinite(loss.item()):
                sys.exit(f"step {step}: the loss is {loss.item()}; the row is not counted.")
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(learned, self.r["clip"])
            optimizer.step()
            beta = min(self.r["ema"], (1 + step) / (10 + step))
            with torch.no_grad():
                torch._foreach_lerp_(averages, learned, 1 - beta)
        with torch.no_grad():
            for p, average in zip(learned, averages):
                p.copy_(average)
        return model.eval()


# ---- rows

def architecture(row, budget, task):
    torch.manual_seed(0)
    if "baseline" in row:
        return baselines.build(row["baseline"], task.IN_CHANNELS, len(task.CLASSES), task.WINDOW, budget["width"] / 48)
    return SwinUnet(SwinUnetConfig(image_size=task.WINDOW, in_channels=task.IN_CHANNELS, classes=len(task.CLASSES), width=budget["width"],
                                   heads=budget["heads"], attention_window=task.WINDOW // 32, drop_path=0.0, **row["model"]))


def run_steps(model, steps, recipe, budget):
    """Do a compression row's steps. -> the model with plain weights, name -> Packed."""
    teacher, packed, pending = copy.deepcopy(model).eval(), {}, None
    for step in steps:
        if step == "train" or (isinstance(step, dict) and "train" in step):
            rate = budget["learning_rate"] * recipe.r["recover_rate"]
            model = recipe.train(model, budget["recover_steps"], rate, pending, teacher if step != "train" else None)
            pending = None
            packed = bake(model)
        elif "mask" in step:
            compress(model, "mask")
            blind, share = step.get("class_blind", True), step["mask"]
            if step.get("at_once"):
                set_sparsity(model, share, blind)
                packed = bake(model)
            else:
                levels = [share * (i + 1) / PRUNE_ROUNDS for i in range(PRUNE_ROUNDS)]
                every = max(1, budget["recover_steps"] // (2 * PRUNE_ROUNDS))       # the second half retrains at the final level

                def pending(now, model=model, levels=levels, every=every, blind=blind):
                    if now % every == 0 and now // every < PRUNE_ROUNDS:
                        set_sparsity(model, stepwise(now, levels, every), blind)
        elif "shrink" in step:
            if step.get("by") == "magnitude":
                scores = importance(model)
            else:
                batches = [(p, truth) for p, *truth in (recipe.sampler.batch(budget["batch"]) for _ in range(16))]
                scores = importance(model, batches, lambda logits, truth: recipe.loss(logits, *truth))
            model, packed = shrink(model, step["shrink"], step["heads"], scores), {}
        else:
            # after pruning the mask is baked, and its zeros stay zeros
            packed = compress(model, **step)
    # a trained method that no training followed: its weights as they are before it
    return model.eval(), bake(model) or packed


def measure(model, packed, task, samples, parent_bytes=None):
    began = time.time()

    def run(x):
        with torch.inference_mode():
            return model(torch.from_numpy(np.ascontiguousarray(x, np.float32))).numpy()
    scores = task.evaluate(run, samples, window=task.WINDOW)
    size = packed_size(model, packed, np.float16 if packed else np.float32)
    weights = [m.weight for _, m in targets(model)] if isinstance(model, SwinUnet) else []
    total = sum(w.numel() for w in weights)
    out = {k: scores[k] for k in task.SCORES if k in scores}
    # a part that was never found has no distance: how often is told beside the mean of the others
    out |= {k: v for k, v in scores.items() if k.endswith("Infinite")}
    out |= {"parameters": sum(p.numel() for p in model.parameters()),
            "macs": baselines.count_macs(model, (1, task.IN_CHANNELS, task.WINDOW, task.WINDOW)), "bytes": size["raw_bytes"],
            "compressedBytes": size["compressed_bytes"], "bitsPerWeight": size["bits_per_weight"],
            "sparsity": float(sum((w == 0).sum() for w in weights) / total) if total else 0.0, "evaluateSeconds": time.time() - began}
    if parent_bytes:
        out["ratio"] = parent_bytes / size["raw_bytes"]
    return out


def plain_network(study, budget, steps, recipe, seed, out):
    """The network that rows "plain" start from: trained once for all of them, kept in OUT/networks."""
    file = out / "networks" / f"{fingerprint(study, 'architecture', study['plain_base'], budget)}-{seed}.pt"
    model = architecture(study["plain_base"], budget, recipe.task)
    if file.exists():
        model.load_state_dict(torch.load(file, weights_only=True))
        return model.eval()
    recipe.train(model, steps, budget["learning_rate"])
    file.parent.mkdir(exist_ok=True)
    torch.save(model.state_dict(), f"{file}.{os.getpid()}.part")
    os.replace(f"{file}.{os.getpid()}.part", file)
    return model


def run_row(study, kind, row, seed, budget, out):
    began = time.time()
    torch.set_num_threads(1)
    if kind == "shipped":
        model, saved = load_checkpoint(row["checkpoint"])
        task = tasks.load(tasks.name_of(saved["config"]))
        parent = packed_size(model, {}, np.float32)["raw_bytes"]
        model, packed = run_steps(model, row["steps"], None, budget)
        result = measure(model, packed, task, val_samples(task), parent)
    else:
        task = tasks.load(study["task"])
        torch.manual_seed(seed)
        recipe = Recipe(study, budget, task, seed)
        if kind == "architecture":
            torch.manual_seed(seed)
            model = recipe.train(architecture(row, budget, task), round(budget["steps"] * row.get("longer", 1)), budget["learning_rate"])
            result = measure(model, {}, task, val_samples(task))
        else:
            if kind == "plain":
                trained = round(budget["steps"] * study["plain_base"]["longer"])
                model = plain_network(study, budget, trained, recipe, seed, out)
                recipe = Recipe(study, budget, task, seed)     # every row draws the same crops, whichever trained the network
            else:
                model, _ = load_checkpoint(HERE / study["base"])
            parent = packed_size(model, {}, np.float32)["raw_bytes"]
            model, packed = run_steps(model, row["steps"], recipe, budget)
            result = measure(model, packed, task, val_samples(task), parent)
            if kind == "plain":
                result["trainedSteps"] = trained
    result |= {"seconds": time.time() - began, "threads": 1}
    return result


# ---- many rows

def fingerprint(study, kind, row, budget):
    """What a row's figures depend on; the label is not part of it."""
    about = {k: v for k, v in row.items() if k not in ("label", "spread")}
    if kind == "compression":
        about["base"] = hashlib.sha256((HERE / study["base"]).read_bytes()).hexdigest()
    if kind == "plain":
        about["base"] = study["plain_base"]
    if kind == "shipped":
        about["checkpoint"] = hashlib.sha256(Path(row["checkpoint"]).read_bytes()).hexdigest()
        return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:16]
    budget = {k: v for k, v in budget.items() if k not in ("seeds", "more_seeds")}
    return hashlib.sha256(json.dumps([about, budget, study["recipe"], study["task"]], sort_keys=True).encode()).hexdigest()[:16]


def plan(study, budget, shipped):
    """(kind, row, seed) in running order: first seeds before further ones."""
    todo = [(kind, row, s) for s in budget["seeds"] for kind in ("compression", "architecture", "plain") for row in study.get(kind, [])]
    for path in shipped:
        name = Path(path).stem
        todo += [("shipped", {**row, "name": f"{name}--{row['name']}", "checkpoint": str(path)}, 0) for row in study["shipped"]]
    for s in budget["more_seeds"]:
        todo += [(kind, row, s) for kind in ("compression", "architecture") for row in study[kind] if row.get("spread")]
    return todo


def collect(study, budget, shipped, out):
    rows = []
    for kind, row, seed in plan(study, budget, shipped):
        file = out / "rows" / f"{kind}-{row['name']}-{seed}.json"
        if file.exists():
            done = json.loads(file.read_text())
            if done["fingerprint"] == fingerprint(study, kind, row, budget):
                rows.append({**done, "label": row["label"]})
    return rows


def report(study, args, budget, out):
    content = {"task": study["task"], "budget": {"name": args.budget, **budget}, "recipe": study["recipe"], "torch": torch.__version__,
               "planned": len(plan(study, budget, args.shipped)),
               "rows": collect(study, budget, args.shipped, out)}
    for name, text in (("study.json", json.dumps(content, indent=1) + "\n"), ("STUDY.md", study_report.render(content))):
        part = Path(args.report_to) / (name + ".part")
        part.write_text(text)
        os.replace(part, Path(args.report_to) / name)
    return content


def missing(study, args, budget, out):
    """(kind, row, seed) still to run, in order."""
    have = {(r["kind"], r["name"], r["seed"]) for r in collect(study, budget, args.shipped, out)}
    only = args.only and set(args.only.split(","))
    return [(k, r, s) for k, r, s in plan(study, budget, args.shipped) if (k, r["name"], s) not in have and (not only or r["name"] in only)]


def work(study, args, budget, out):
    """Take rows until none is left. A claim is a file that only one worker can make."""
    while True:
        waiting = missing(study, args, budget, out)
        for kind, row, seed in waiting:
            stem = out / "rows" / f"{kind}-{row['name']}-{seed}"
            try:
                Path(f"{stem}.claim").touch(exist_ok=False)
            except FileExistsError:
                continue
            try:
                result = run_row(study, kind, row, seed, budget, out)
            except (Exception, SystemExit) as error:           # a row that cannot run stops no other; its claim stays
                Path(f"{stem}.failed").write_text(f"{error}\n\n{traceback.format_exc()}")
                break
            Path(f"{stem}.part").write_text(json.dumps({"kind": kind, "name": row["name"], "seed": seed, **result,
                                                        "fingerprint": fingerprint(study, kind, row, budget)}))
            os.replace(f"{stem}.part", f"{stem}.json")
            Path(f"{stem}.claim").unlink()
            break
        else:
            return                                           # each that is left is another worker's, or failed


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("config")
    parser.add_argument("--out", required=True, help="rows are kept here")
    parser.add_argument("--budget", default="cpu")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--only", help="names of rows, separated by commas")
    parser.add_argument("--shipped", nargs="*", help="checkpoints to round (the file says which)")
    parser.add_argument("--report", action="store_true", help="write the report again and run nothing")
    parser.add_argument("--report-to", default=str(HERE))
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    study = tomllib.loads(Path(args.config).read_text())
    if args.shipped is None:
        args.shipped = [str(HERE / p) for p in study["networks"]]
    if args.budget not in study["budget"]:
        sys.exit(f'{args.config} has no budget "{args.budget}"; it has {", ".join(study["budget"])}')
    budget, out = study["budget"][args.budget], Path(args.out)
    (out / "rows").mkdir(parents=True, exist_ok=True)
    if args.worker:
        work(study, args, budget, out)
        return
    known = Path(args.report_to) / "study.json"               # committed, so that another machine goes on from there
    for row in json.loads(known.read_text())["rows"] if known.exists() else []:
        file = out / "rows" / f"{row['kind']}-{row['name']}-{row['seed']}.json"
        if not file.exists():
            file.write_text(json.dumps({k: v for k, v in row.items() if k != "label"}))
    if not args.report:
        for left in (*(out / "rows").glob("*.claim"), *(out / "rows").glob("*.failed")):      # of workers that were stopped
            left.unlink()
        waiting = missing(study, args, budget, out)
        print(f"{len(collect(study, budget, args.shipped, out))} rows are there, {len(waiting)} to run", flush=True)
        workers = [subprocess.Popen([sys.executable, __file__, *sys.argv[1:], "--worker"], env={**os.environ, "OMP_NUM_THREADS": "1"})
                   for _ in range(min(args.jobs, len(waiting)))]
        told = set()
        while True:
            running = any(w.poll() is None for w in workers)
            for r in report(study, args, budget, out)["rows"]:
                key = (r["kind"], r["name"], r["seed"])
                if key not in told and any((k, w["name"], s) == key for k, w, s in waiting):
                    told.add(key)
                    print(f"{r['kind']} {r['name']} seed {r['seed']}: dice {r['dice']:.4f}, {r['bytes']:,} bytes, {r['seconds']:.0f} s", flush=True)
            if not running:
                break
            time.sleep(3)
        left = missing(study, args, budget, out)
        if left:
            for file in (out / "rows").glob("*.failed"):
                print(f"{file.stem}: {file.read_text().splitlines()[0]}", flush=True)
            sys.exit(f"{len(left)} rows did not run: {', '.join(r['name'] for _, r, _ in left)}")
    content = report(study, args, budget, out)
    print(f"{len(content['rows'])} rows in {args.report_to}/STUDY.md")


if __name__ == "__main__":
    main()
