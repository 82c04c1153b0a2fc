"""From a trained checkpoint to a pruned, 4-bit one: prune in rounds, then train through 4-bit weights.

    torchrun --nproc-per-node 2 model/prune_and_quantize.py model/checkpoints/nuclei-c48.pt --out runs/nuclei-int4 [--resume]

Rounds of structured pruning (whole MLP units and attention heads, by first-order importance on train crops) with training between
them take the first third of the steps; for the rest every linear runs on 4-bit weights, one learned scale per output channel, with a
straight-through gradient. The loss is half the task's own and half the distance to what the uncompressed network says of the same crops
(Hinton et al., arXiv 1503.02531). One linear decay over all steps. `--mlp 0 --heads 0` only quantises, `--bits 0` only prunes.

OUT/last.pt    everything needed to go on
OUT/best.pt    averaged weights on their 4-bit grid, with "scales"; replaced only by a better quick validation
OUT/end.pt     the same of the last step; which of the two is better, evaluate.py says on whole pictures
OUT/log.csv    step, minutes, lr, loss, dice, f1
"""
from __future__ import annotations

import argparse
import copy
import csv
import math
import os
import sys
import time
from dataclasses import asdict
from pathlib import Path

import torch
import torch.distributed as dist
import torch.nn.functional as F

import tasks
from compress import bake, compress
from crops import Crops
from structured_pruning import importance, shrink
from export_onnx import load_checkpoint
from losses import OPTIONS, segmentation_loss
from swin_unet import SwinUnet, SwinUnetConfig, load_weights

parser = argparse.ArgumentParser()
parser.add_argument("checkpoint", help="the uncompressed network: the start and the teacher")
parser.add_argument("--out", required=True)
parser.add_argument("--data")
parser.add_argument("--resume", action="store_true")
parser.add_argument("--mlp", type=float, default=0.5, help="share of the MLP units to take out of every block")
parser.add_argument("--heads", type=float, default=0.25, help="share of the attention heads")
parser.add_argument("--rounds", type=int, default=2, help="of pruning")
parser.add_argument("--bits", type=int, default=4, help="0: leave the weights in float32")
parser.add_argument("--steps", type=int, default=1500)
parser.add_argument("--learning-rate", type=float, default=5e-4)
parser.add_argument("--distill", type=float, default=0.5, help="share of the teacher in the loss")
parser.add_argument("--plain", type=float, help="share of crops whose colours are left alone; default: the config's decay_plain_share")
parser.add_argument("--validate-every", type=int, default=250)
parser.add_argument("--seed", type=int, default=1)
parser.add_argument("--threads", type=int, help="per process")
parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
parser.add_argument("--batch", type=int, help="crops of a step, instead of the config's")
parser.add_argument("--workers", type=int, default=0, help="processes that draw crops, for a GPU; 0: this one")
args = parser.parse_args()

rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
if world > 1:
    dist.init_process_group("gloo" if args.device == "cpu" else "nccl")
torch.set_num_threads(args.threads or max(1, (os.cpu_count() or 2) // world))
torch.manual_seed(args.seed)
out = Path(args.out)
out.mkdir(parents=True, exist_ok=True)
if (out / "last.pt").exists() and not args.resume:
    sys.exit(f"{out}/last.pt exists. Add --resume to go on, or choose another --out; nothing is overwritten.")
teacher, parent = load_checkpoint(args.checkpoint)
parent["config"]["model"]["drop_path"] = 0.0               # pruning takes enough; the teacher never drops any
device = torch.device(args.device)
teacher = load_weights(parent["config"]["model"], teacher.state_dict()).to(device).eval()
config, t = parent["config"], parent["config"]["train"]
t["batch"] = args.batch or t["batch"]
task = tasks.load(tasks.name_of(config))
size = config["model"]["image_size"]
class_weights = torch.tensor(t["class_weights"], device=device)
loss_options = {k: t[k] for k in OPTIONS if k in t}
autocast = torch.autocast(device.type, torch.bfloat16, enabled=t["precision"] == "bf16")
PRUNE_AT = [round(args.steps / 3 * i / args.rounds) for i in range(args.rounds)] if args.mlp or args.heads else []
QUANTISE_AT = round(args.steps / 3) if PRUNE_AT else 0
WARMUP = 50


def say(*words):
    if rank == 0:
        print(*words, flush=True)


def save(name, content):
    if rank == 0:
        torch.save(content, out / (name + ".part"))
        os.replace(out / (name + ".part"), out / name)


def optimizer_of(model):
    weights = [p for n, p in model.named_parameters() if p.ndim > 1 and not n.endswith(".scale")]
    rest = [p for n, p in model.named_parameters() if p.ndim <= 1 or n.endswith(".scale")]
    return torch.optim.AdamW([{"params": weights, "weight_decay": t["weight_decay"]}, {"params": rest, "weight_decay": 0.0}],
                             lr=args.learning_rate, betas=tuple(t["betas"]), fused=True)


def averages_of(model):
    return {k: v.detach().clone() for k, v in model.state_dict().items()}


def loss_on(model, batch):
    pixels, classes, weights = batch
    with autocast:
        logits = model(pixels)
    return logits, segmentation_loss(logits, classes, class_weights, weights, **loss_options)


def prune(model, share):
    """Take the same share out of every round, so that after the last one `args.mlp` and `args.heads` are gone."""
    batches = [(pixels, truth) for pixels, *truth in (next(crops) for _ in range(16))]
    scores = importance(model, batches, lambda logits, truth: segmentation_loss(logits, truth[0], class_weights, truth[1], **loss_options))
    if world > 1:
        for block in scores:
            for score in block.values():
                dist.all_reduce(score)
    return shrink(model, share(args.mlp), share(args.heads), scores)


def finished(model):
    """The averaged weights as plain float32 on their grid, and the scales they lie on."""
    plain = SwinUnet(model.cfg).to(device)                 # not a deep copy: it would share the class that `bake` takes apart
    if quantised:
        compress(plain, "fake_quant", bits=args.bits, scale="learned")
    plain.load_state_dict(ema)
    packed = bake(plain)
    return plain, {name.removesuffix(".weight"): torch.from_numpy(p.arrays["scale"][:, 0].copy()) for name, p in packed.items()}


def merit(scores):
    return scores["dice"] + scores.get("f1", 0.0)


step, minutes_before, best, quantised = 0, 0.0, -1.0, False
model = copy.deepcopy(teacher).train()
optimizer, ema = optimizer_of(model), averages_of(model)
if args.resume:
    saved = torch.load(out / "last.pt", map_location=device, weights_only=True)
    model = SwinUnet(SwinUnetConfig(**saved["config"]["model"])).to(device).train()
    quantised = saved["quantised"]
    if quantised:
        compress(model, "fake_quant", bits=args.bits, scale="learned")
    model.load_state_dict(saved["model"])
    optimizer = optimizer_of(model)
    optimizer.load_state_dict(saved["optimizer"])
    ema, step, minutes_before, best = saved["ema"], saved["step"], saved["minutes"], saved["best"]
    say(f"resumed {out}/last.pt at step {step}")
try:
    train_samples, val_samples = (task.load_split(split, args.data, **tasks.data_options(task, config)) for split in ("train", "val"))
except (ValueError, OSError) as e:
    sys.exit(str(e))
sampler = task.Sampler(train_samples, size, seed=[args.seed, step, rank], plain=t["decay_plain_share"] if args.plain is None else args.plain,
                       **{k: t[k] for k in task.SAMPLER_OPTIONS if k in t})
crops = Crops(sampler, t["batch"] // world, device, args.workers, [args.seed, step, rank])
quick_validation = task.QuickValidation(val_samples, size)
del train_samples, val_samples

log_new = not (out / "log.csv").exists()
log_file = open(out / "log.csv" if rank == 0 else os.devnull, "a", newline="")
log = csv.writer(log_file)
if log_new:
    log.writerow(["step", "minutes", "lr", "loss", "val_dice", "val_f1"])
started = last_print = time.time()
first_step, running, since = step, None, step
say(f"{task.NAME}: {model.parameter_count():,} parameters, {args.steps} steps, pruning at {PRUNE_AT}, {args.bits} bits from {QUANTISE_AT}")

while True:
    minutes = minutes_before + (time.time() - started) / 60
    done = step >= args.steps
    if quantised == bool(args.bits) and step > QUANTISE_AT and (done or step % args.validate_every == 0 and step > first_step):
        if rank == 0:
            plain, scales = finished(model)
            plain.eval()

            def model_fn(pixels):
                with autocast:
                    return plain(pixels.to(device))
            with torch.inference_mode():
                scores = quick_validation(model_fn)
            packed = {"config": {**config, "model": asdict(plain.cfg)}, "ema": {k: v.cpu() for k, v in plain.state_dict().items()}, "scales": scales,
                      "step": parent["step"] + step, "minutes": parent["minutes"] + minutes, "quick": scores}
            if merit(scores) > best:
                best = merit(scores)
                save("best.pt", packed)
            if done:
                save("end.pt", packed)
            log.writerow([step, f"{minutes:.1f}", "", running, *(f"{scores[k]:.4f}" if k in scores else "" for k in ("dice", "f1"))])
            say(f"step {step}: val " + " ".join(f"{k} {v:.4f}" for k, v in scores.items()))
    if step > first_step and (done or step % 100 == 0):
        save("last.pt", {"config": {**config, "model": asdict(model.cfg)}, "model": model.state_dict(), "ema": ema, "quantised": quantised,
                         "optimizer": optimizer.state_dict(), "step": step, "minutes": minutes, "best": best})
    if done:
        break
    if step in PRUNE_AT and not (args.resume and step == first_step > 0):
        left = len(PRUNE_AT) - PRUNE_AT.index(step)
        model = prune(model, lambda total: 1 - (1 - total) ** (1 / len(PRUNE_AT))).train()
        optimizer, ema, since = optimizer_of(model), averages_of(model), step
        say(f"step {step}: {model.parameter_count():,} parameters left, {left - 1} rounds to go")
    if args.bits and not quantised and step == QUANTISE_AT:
        model.load_state_dict(ema)
        compress(model, "fake_quant", bits=args.bits, scale="learned")
        quantised, since = True, step
        optimizer, ema = optimizer_of(model), averages_of(model)
        say(f"step {step}: {args.bits} bits from here")
    rate = args.learning_rate * min(1, (step - since + 1) / WARMUP) * max(0.01, 1 - step / args.steps)
    for group in optimizer.param_groups:
        group["lr"] = rate
    batch = next(crops)
    logits, loss = loss_on(model, batch)
    if args.distill:
        with torch.inference_mode(), autocast:
            said = teacher(batch[0]).float().softmax(1)
        far = F.kl_div(logits.float().log_softmax(1), said.clone(), reduction="none").sum(1)
        loss = (1 - args.distill) * loss + args.distill * (far * batch[2]).sum() / batch[2].sum()
    value = loss.item()
    if not math.isfinite(value):
        sys.exit(f"step {step}: the loss is {value}. Nothing was saved since the last checkpoint; lower --learning-rate and go on with --resume.")
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    if world > 1:
        learned = [p for p in model.parameters() if p.requires_grad]
        flat = torch.cat([p.grad.reshape(-1) for p in learned])
        dist.all_reduce(flat)
        for p, g in zip(learned, (flat / world).split([p.numel() for p in learned])):
            p.grad.copy_(g.view_as(p))
    torch.nn.utils.clip_grad_norm_(model.parameters(), t["clip"])
    optimizer.step()
    step += 1
    beta = min(0.99, (1 + step - since) / (10 + step - since))
    with torch.no_grad():
        state = model.state_dict()
        torch._foreach_lerp_(list(ema.values()), [state[k] for k in ema], 1 - beta)
    running = value if running is None else 0.98 * running + 0.02 * value
    if time.time() - last_print > 20:
        pace = (time.time() - started) / (step - first_step)
        log.writerow([step, f"{minutes:.1f}", f"{rate:.2e}", f"{running:.4f}", "", ""])
        log_file.flush()
        say(f"step {step} loss {running:.4f} lr {rate:.1e} {pace:.2f} s/step")
        last_print = time.time()
