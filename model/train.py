"""Train one model from one config; its [data] section names the task. Flat on purpose.

    python model/train.py model/configs/nuclei.toml --out runs/nuclei [--resume]
    torchrun --nproc-per-node 2 model/train.py ...        # the batch split over processes, gradients averaged

Two processes of one thread beat one process of two threads on a two-core machine: the loading and the small operators
run in parallel too, and a busy neighbour costs less than it does at every OpenMP barrier.

Warm-up, constant rate, linear decay: the decay starts when asked (`touch OUT/decay`, or --decay-at MINUTES), so a run that is
resumed later has wasted nothing. `touch OUT/stop` saves and ends at once. The weights that are scored and exported are
an exponential moving average.

OUT/last.pt    everything needed to go on (atomic, every few minutes)
OUT/stable.pt  the same from just before the decay: resume from here to train longer
OUT/best.pt    EMA weights of the best quick validation; replaced only by a better one, whatever run that is of
OUT/log.csv    step, minutes, lr, loss, and at validations dice, f1 (where the task has it)
OUT/validation.csv   step, minutes, score, value: all that a validation gives
"""
from __future__ import annotations

import argparse
import csv
import math
import os
import sys
import time
import tomllib
from dataclasses import asdict
from pathlib import Path

import torch
import torch.distributed as dist

import tasks
from crops import Crops
from losses import OPTIONS, segmentation_loss
from swin_unet import SwinUnet, SwinUnetConfig, check_state

parser = argparse.ArgumentParser()
parser.add_argument("config")
parser.add_argument("--out", required=True)
parser.add_argument("--data", help="the data set's folder; by default the task's environment variable, or beside the repository")
source = parser.add_mutually_exclusive_group()
source.add_argument("--resume", action="store_true", help="go on from OUT/last.pt")
source.add_argument("--from-checkpoint", help="start from this file's weights (and optimizer, if it holds one)")
parser.add_argument("--steps", type=int, default=10 ** 9, help="stop at this step")
parser.add_argument("--decay-at", type=float, help="start the decay after this many minutes of this process")
parser.add_argument("--decay-steps", type=int, help="length of the decay, instead of the config's")
parser.add_argument("--threads", type=int, help="per process; default: the cores, shared out")
parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
parser.add_argument("--batch", type=int, help="crops of a step, instead of the config's")
parser.add_argument("--workers", type=int, default=0, help="processes that draw crops, for a GPU; 0: this one")
args = parser.parse_args()

rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
if world > 1:
    dist.init_process_group("gloo" if args.device == "cpu" else "nccl")

with open(args.config, "rb") as f:
    config = tomllib.load(f)
t = config["train"]
t["decay_steps"] = args.decay_steps or t["decay_steps"]
t["batch"] = args.batch or t["batch"]
try:
    task = tasks.load(tasks.name_of(config))
except ValueError as e:
    sys.exit(f"{args.config}: {e}")
if (config["model"]["in_channels"], config["model"]["classes"]) != (task.IN_CHANNELS, len(task.CLASSES)):
    sys.exit(f"{args.config} asks for {config['model']['in_channels']} channels and {config['model']['classes']} classes; "
             f"{task.NAME} has {task.IN_CHANNELS} and {len(task.CLASSES)}.")
out = Path(args.out)
out.mkdir(parents=True, exist_ok=True)
if t["batch"] % world:
    sys.exit(f"batch {t['batch']} does not divide over {world} processes")
if (out / "last.pt").exists() and not args.resume:
    sys.exit(f"{out}/last.pt exists. Add --resume to go on, or choose another --out; nothing is overwritten.")
if rank == 0:
    (out / "stop").unlink(missing_ok=True)                 # of the run before
torch.set_num_threads(args.threads or max(1, (os.cpu_count() or 2) // world))
torch.manual_seed(t["seed"])
device = torch.device(args.device)

model = SwinUnet(SwinUnetConfig(**config["model"])).to(device)
if t["channels_last"]:
    model = model.to(memory_format=torch.channels_last)
decayed = [p for p in model.parameters() if p.ndim > 1]
plain = [p for p in model.parameters() if p.ndim <= 1]
optimizer = torch.optim.AdamW([{"params": decayed, "weight_decay": t["weight_decay"]}, {"params": plain, "weight_decay": 0.0}],
                              lr=t["learning_rate"], betas=tuple(t["betas"]), fused=True)
ema = {k: v.detach().clone() for k, v in model.state_dict().items()}
step, minutes_before, best, decay_from = 0, 0.0, -1.0, None


def save(name, content):
    if rank:
        return
    torch.save(content, out / (name + ".part"))
    os.replace(out / (name + ".part"), out / name)


def everything():
    return {"config": config, "model": model.state_dict(), "ema": ema, "optimizer": optimizer.state_dict(), "step": step,
            "minutes": minutes_before + (time.time() - started) / 60, "best": best, "decay_from": decay_from}


def say(*words):
    if rank == 0:
        print(*words, flush=True)


def load(path):
    """A checkpoint of this task and this network, or the end in one sentence."""
    if not Path(path).exists():
        sys.exit(f"There is no {path} to start from.")
    saved = torch.load(path, map_location=device, weights_only=True)
    if not isinstance(saved, dict) or "config" not in saved or "ema" not in saved:
        sys.exit(f"{path} has no config and ema; it is not a file train.py wrote.")
    if tasks.name_of(saved["config"]) != task.NAME:
        sys.exit(f"{path} was trained for {tasks.name_of(saved['config'])}, the config asks for {task.NAME}.")
    theirs, ours = ({k: v for k, v in asdict(SwinUnetConfig(**c["model"])).items() if k != "drop_path"}        # it has no weights
                    for c in (saved["config"], config))
    if theirs != ours:
        different = {k: (theirs.get(k), ours.get(k)) for k in sorted(theirs | ours) if theirs.get(k) != ours.get(k)}
        sys.exit(f"{path} was trained with another [model] section than the config's: {different} (the checkpoint's, the config's).")
    try:
        for weights in ("ema", "model"):
            check_state(model, saved.get(weights, saved["ema"]))
    except ValueError as e:
        sys.exit(f"{path}: {e}")
    return saved


def merit(scores):
    return scores["dice"] + scores.get("f1", 0.0)


resume_file = (out / "last.pt") if args.resume else args.from_checkpoint
if resume_file:
    saved = load(resume_file)
    # a compact checkpoint may hold the averaged weights only
    saved["model"] = {k: v.float() for k, v in saved.get("model", saved["ema"]).items()}
    model.load_state_dict(saved["model"])
    ema = {k: v.float() for k, v in saved["ema"].items()}
    if "optimizer" in saved:
        optimizer.load_state_dict(saved["optimizer"])
    step, minutes_before = saved["step"], saved["minutes"]
    if args.resume:
        best, decay_from = saved["best"], saved["decay_from"]
    say(f"resumed {resume_file} at step {step}, {minutes_before:.0f} minutes in")
first_step = step
if (out / "best.pt").exists():                             # of this run or another: last.pt may be older, or not there
    kept = load(out / "best.pt")
    if "quick" not in kept:
        sys.exit(f"{out}/best.pt holds no scores to compare with. Move it away, or choose another --out; nothing is overwritten.")
    best = max(best, merit(kept["quick"]))
    say(f"{out}/best.pt stays until a validation beats its {best:.4f}")

try:
    options = tasks.data_options(task, config)
    train_samples, val_samples = (task.load_split(split, args.data, **options) for split in ("train", "val"))
except (ValueError, OSError) as e:
    sys.exit(str(e))
sampler = task.Sampler(train_samples, config["model"]["image_size"], seed=[t["seed"], step, rank],
                       **{k: t[k] for k in task.SAMPLER_OPTIONS if k in t})
crops = Crops(sampler, t["batch"] // world, device, args.workers, [t["seed"], step, rank])
quick_validation = task.QuickValidation(val_samples, config["model"]["image_size"])
del train_samples, val_samples
scored = SwinUnet(SwinUnetConfig(**config["model"])).to(device).eval()
class_weights = torch.tensor(t["class_weights"], device=device)
loss_options = {k: t[k] for k in OPTIONS if k in t}
run = torch.compile(model) if t["compile"] else model
autocast = torch.autocast(device.type, torch.bfloat16, enabled=t["precision"] == "bf16")


def validate_ema():
    """The task's quick scores of the averaged weights."""
    def model_fn(pixels):
        with autocast:
            return scored(pixels.to(device))

    scored.load_state_dict(ema)
    with torch.inference_mode():
        return quick_validation(model_fn)


def average_gradients():
    flat = torch.cat([p.grad.reshape(-1) for p in model.parameters()])
    dist.all_reduce(flat)
    flat /= world
    for p, g in zip(model.parameters(), flat.split([p.numel() for p in model.parameters()])):
        p.grad.copy_(g.view_as(p))


log_new = not (out / "log.csv").exists()
log_file = open(out / "log.csv" if rank == 0 else os.devnull, "a", newline="")
log = csv.writer(log_file)
if log_new:
    log.writerow(["step", "minutes", "lr", "loss", "val_dice", "val_f1"])

started = time.time()
last_save = last_validation = last_print = started
running, model_training = None, model.train()
say(f"{task.NAME}: {model.parameter_count():,} parameters, {len(sampler.samples)} train and {len(quick_validation)} val samples, "
    f"{world} x {device}")

while True:
    now = time.time()
    minutes = minutes_before + (now - started) / 60
    ask_decay = decay_from is None and bool((out / "decay").exists() or (args.decay_at is not None and now - started > args.decay_at * 60))
    ask_stop, validate = (out / "stop").exists(), now - last_validation > t["validate_minutes"] * 60
    if world > 1:                                          # the first process decides for all
        asks = torch.tensor([ask_decay, ask_stop, validate], dtype=torch.int32, device=device)
        dist.broadcast(asks, 0)
        ask_decay, ask_stop, validate = asks.bool().tolist()
    if ask_decay:
        save("stable.pt", everything())
        decay_from = step
        say(f"step {step}: decay starts, {t['decay_steps']} steps to go")
    done = step >= args.steps or ask_stop or (decay_from is not None and step >= decay_from + t["decay_steps"])
    if validate or done:
        last_validation = now
    if (validate or done) and rank == 0:
        scores = validate_ema()
        if merit(scores) > best:
            best = merit(scores)
            save("best.pt", {"config": config, "ema": ema, "step": step, "minutes": minutes, "quick": scores})
        log.writerow([step, f"{minutes:.1f}", optimizer.param_groups[0]["lr"], running,
                      *(f"{scores[k]:.4f}" if k in scores else "" for k in ("dice", "f1"))])
        with open(out / "validation.csv", "a", newline="") as f:
            csv.writer(f).writerows([step, f"{minutes:.1f}", k, f"{v:.4f}"] for k, v in scores.items())
        say(f"step {step}: val " + " ".join(f"{k} {v:.4f}" for k, v in scores.items()) + f" ({time.time() - now:.0f} s)")
    if done or now - last_save > t["checkpoint_minutes"] * 60:
        last_save = now
        save("last.pt", everything())
    if done:
        break

    rate = t["learning_rate"] * min(1, (step + 1) / t["warmup_steps"])
    if args.from_checkpoint:
        rate *= min(1, (step - first_step + 1) / 50)       # second moments may be missing: start gently
    if decay_from is not None:
        rate *= max(0.01, 1 - (step - decay_from) / t["decay_steps"])
    for group in optimizer.param_groups:
        group["lr"] = rate
    crops.set_plain(t["plain_share"] if decay_from is None else t["decay_plain_share"])
    pixels, classes, weights = next(crops)
    if t["channels_last"]:
        pixels = pixels.contiguous(memory_format=torch.channels_last)
    with autocast:
        logits = run(pixels)
    loss = segmentation_loss(logits, classes, class_weights, weights, **loss_options)
    value = loss.item()
    if not math.isfinite(value):
        sys.exit(f"step {step}: the loss is {value}. Nothing was saved since the last checkpoint; lower learning_rate, or set precision "
                 "to \"fp32\", and go on with --resume.")
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    if world > 1:
        average_gradients()
    torch.nn.utils.clip_grad_norm_(model.parameters(), t["clip"])
    optimizer.step()
    step += 1
    beta = min(t["ema"], (1 + step) / (10 + step))
    with torch.no_grad():
        state = model.state_dict()
        torch._foreach_lerp_(list(ema.values()), [state[k] for k in ema], 1 - beta)
    running = value if running is None else 0.98 * running + 0.02 * value
    if time.time() - last_print > 20:
        rate_now = (step - first_step) / (time.time() - started)
        log.writerow([step, f"{minutes:.1f}", f"{rate:.2e}", f"{running:.4f}", "", ""])
        log_file.flush()
        say(f"step {step} loss {running:.4f} lr {rate:.1e} {1 / rate_now:.2f} s/step")
        last_print = time.time()
