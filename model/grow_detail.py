"""Hang a convolutional U-Net below a checkpoint's detail path. The network computes the same until it is trained on with train.py.

    python model/grow_detail.py model/checkpoints/nuclei-he-c48.pt --levels 48 96 128 --out runs/nuclei-grown.pt
"""
from __future__ import annotations

import argparse
import os
from dataclasses import asdict, replace

import torch

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
    parser.add_argument("--levels", type=int, nargs="+", required=True, help="channels at 1/4, 1/8, ... of the resolution")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", required=True)
    args = parser.parse_args()

    torch.manual_seed(args.seed)
    saved = torch.load(args.checkpoint, map_location="cpu", weights_only=True)
    model = load_weights(saved["config"]["model"], {k: v.float() for k, v in saved["ema"].items()})
    grown = grow(model, args.levels)
    saved["config"]["model"] = asdict(grown.cfg)
    torch.save({**{k: saved[k] for k in ("config", "step", "minutes")}, "ema": grown.state_dict()}, args.out + ".part")
    os.replace(args.out + ".part", args.out)
    print(f"{args.out}: {model.parameter_count():,} parameters before, {grown.parameter_count():,} after")
