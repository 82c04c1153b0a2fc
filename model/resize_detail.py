"""Change the detail path of a checkpoint. Train the new checkpoint further with train.py.

    python model/resize_detail.py runs/nuclei-int4/best.pt --width 24 --out runs/nuclei-24.pt
    python model/resize_detail.py model/checkpoints/nuclei-he-c48.pt --levels 48 96 128 --out runs/nuclei-grown.pt

`--width` takes channels out, by magnitude. `--levels` hangs a convolutional U-Net below the path; until it is trained, the
network computes the same as before.
"""
from __future__ import annotations

import argparse
import os
from dataclasses import asdict, replace

import torch

from structured_pruning import shrink_detail
from swin_unet import SwinUnet, load_weights


def grow(model, levels):
    """A new SwinUnet with these detail levels, the weights of `model` copied."""
    if model.cfg.detail_levels:
        raise ValueError(f"the network has detail levels already: {list(model.cfg.detail_levels)}")
    grown = SwinUnet(replace(model.cfg, detail_levels=tuple(levels)))
    grown.load_state_dict(grown.state_dict() | model.state_dict())
    return grown.train(model.training)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("checkpoint", help="of train.py or prune_and_quantize.py")
    change = parser.add_mutually_exclusive_group(required=True)
    change.add_argument("--width", type=int, help="channels that each detail layer keeps")
    change.add_argument("--levels", type=int, nargs="+", help="channels of new levels, at 1/4, 1/8, ... of the resolution")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", required=True)
    args = parser.parse_args()

    torch.manual_seed(args.seed)
    saved = torch.load(args.checkpoint, map_location="cpu", weights_only=True)
    model = load_weights(saved["config"]["model"], {k: v.float() for k, v in saved["ema"].items()})
    changed = grow(model, args.levels) if args.levels else shrink_detail(model, args.width)
    saved["config"]["model"] = asdict(changed.cfg)
    torch.save({**{k: saved[k] for k in ("config", "step", "minutes")}, "ema": changed.state_dict()}, args.out + ".part")
    os.replace(args.out + ".part", args.out)
    print(f"{args.out}: {model.parameter_count():,} parameters before, {changed.parameter_count():,} after")
