"""Train one model from one config. Flat on purpose.

    python model/train.py model/configs/nuclei.toml --out runs/nuclei [--resume]
    torchrun --nproc-per-node 2 model/train.py ...        # the batch split over processes, gradients averaged

Two processes of one thread beat one process of two threads on a two-core machine: the loading and the small operators
run in parallel too, and a busy neighbour costs less than it does at every OpenMP barrier.

Warm-up, constant rate, linear decay: the decay starts when asked (`touch OUT/decay`, or --decay-at MINUTES), so a run that is
resumed later has wasted nothing. `touch OUT/stop` saves and ends at once. The weights that are scored and exported are
an exponential moving average.

OUT/last.pt    everything needed to go on (atomic, every few minutes)
OUT/stable.pt  the same from just before the decay: resume from here to train longer
OUT/best.pt    EMA weights of the best quick validation; replaced only by a better one
OUT/log.csv    step, minutes, lr, loss, and at validations dice, f1
"""
from __future__ import annotations

import argparse
import csv
import math
import os
import sys
import time
import tomllib
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist

import data as D
from instances import objects_from_classes
from losses import segmentation_loss
from metrics import dice, f1_at
from swin_unet import SwinUnet, SwinUnetConfig, check_state

parser = argparse.ArgumentParser()
parser.add_argument("config")
parser.add_argument("--out", required=True)
parser.add_argument("--data", default=os.environ.get("TILEWRIGHT_NUCLEI_DATA"))
parser.add_argument("--resume", action="store_true", help="go on from OUT/last.pt")
parser.add_argument("--from-checkpoint", help="start from this file's weights (and optimizer, if it holds one)")
parser.add_argument("--steps", type=int, default=10 ** 9, help="stop at this step")
parser.add_argument("--decay-at", type=float, help="start the decay after this many minutes of this process")
parser.add_argument("--decay-steps", type=int, help="length of the decay, instead of the config's")
parser.add_argument("--threads", type=int, help="per process; default: the cores, shared out")
parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
args = parser.parse_args()

rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
if world > 1:
    dist.init_process_group("gloo" if args.device == "cpu" else "nccl")

with open(args.config, "rb") as f:
    config = tomllib.load(f)
t = config["train"]
t["decay_steps"] = args.decay_steps or t["decay_steps"]
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


resume_file = (out / "last.pt") if args.resume else args.from_checkpoint
if resume_file:
    saved = torch.load(resume_file, map_location=device, weights_only=True)
    if saved["config"]["model"] != config["model"]:
        sys.exit(f"{resume_file} was trained with another [model] section: {saved['config']['model']}, the config asks for {config['model']}.")
    # a compact checkpoint may hold the averaged weights only
    saved["model"] = {k: v.float() for k, v in saved.get("model", saved["ema"]).items()}
    check_state(model, saved["model"])
    model.load_state_dict(saved["model"])
    ema = {k: v.float() for k, v in saved["ema"].items()}
    if "optimizer" in saved:
        optimizer.load_state_dict(saved["optimizer"])
    step, minutes_before = saved["step"], saved["minutes"]
    if args.resume:
        best, decay_from = saved["best"], saved["decay_from"]
    print(f"resumed {resume_file} at step {step}, {minutes_before:.0f} minutes in", flush=True)
first_step = step

train_samples = D.load_split("train", args.data)
sampler = D.CropSampler(train_samples, config["model"]["image_size"], seed=[t["seed"], step, rank])
del train_samples
val_pixels, val_instances = D.centre_crops(D.load_split("val", args.data), config["model"]["image_size"])
scored = SwinUnet(SwinUnetConfig(**config["model"])).to(device).eval()
class_weights = torch.tensor(t["class_weights"], device=device)
run = torch.compile(model) if t["compile"] else model
autocast = torch.autocast(device.type, torch.bfloat16, enabled=t["precision"] == "bf16")


def quick_validation():
    """EMA weights on one centre crop per val image: foreground Dice and F1@0.5, means over images."""
    scored.load_state_dict(ema)
    dices, f1s = [], []
    with torch.inference_mode(), autocast:
        for i in range(0, len(val_pixels), 8):
            classes = scored(val_pixels[i:i + 8].to(device)).argmax(1).to(torch.uint8).cpu().numpy()
            for c, truth in zip(classes, val_instances[i:i + 8]):
                dices.append(dice(c > 0, truth > 0))
                f1s.append(f1_at(objects_from_classes(c), truth))
    return float(np.nanmean(dices)), float(np.nanmean(f1s))


def average_gradients():
    flat = torch.cat([p.grad.view(-1) for p in model.parameters()])
    dist.all_reduce(flat)
    flat /= world
    for p, g in zip(model.parameters(), flat.split([p.numel() for p in model.parameters()])):
        p.grad.copy_(g.view_as(p))


def say(*words):
    if rank == 0:
        print(*words, flush=True)


log_new = not (out / "log.csv").exists()
log_file = open(out / "log.csv" if rank == 0 else os.devnull, "a", newline="")
log = csv.writer(log_file)
if log_new:
    log.writerow(["step", "minutes", "lr", "loss", "val_dice", "val_f1"])

started = time.time()
last_save = last_validation = last_print = started
running, model_training = None, model.train()
say(f"{model.parameter_count():,} parameters, {len(sampler.samples)} train images, {len(val_pixels)} val crops, {world} x {device}")

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
        d, f1 = quick_validation()
        if d + f1 > best:
            best = d + f1
            save("best.pt", {"config": config, "ema": ema, "step": step, "minutes": minutes, "quick": {"dice": d, "f1": f1}})
        log.writerow([step, f"{minutes:.1f}", optimizer.param_groups[0]["lr"], running, f"{d:.4f}", f"{f1:.4f}"])
        say(f"step {step}: val dice {d:.4f} f1 {f1:.4f}")
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
    sampler.plain = t["plain_share"] if decay_from is None else t["decay_plain_share"]
    pixels, classes, between = sampler.batch(t["batch"] // world)
    if t["channels_last"]:
        pixels = pixels.contiguous(memory_format=torch.channels_last)
    with autocast:
        logits = run(pixels.to(device))
    loss = segmentation_loss(logits, classes.to(device), class_weights, (1 + t["between_weight"] * between).to(device))
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
