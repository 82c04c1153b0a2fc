"""Take channels out of a checkpoint's detail path; what is left is trained on with train.py.

    python model/prune_detail.py runs/nuclei-int4/best.pt --width 24 --out runs/nuclei-24.pt
"""
from __future__ import annotations

import argparse
import os
from dataclasses import asdict

import torch

from structured_pruning import shrink_detail
from swin_unet import load_weights

parser = argparse.ArgumentParser()
parser.add_argument("checkpoint", help="of train.py or prune_and_quantize.py")
parser.add_argument("--width", type=int, required=True, help="channels that each detail layer keeps")
parser.add_argument("--out", required=True)
args = parser.parse_args()

saved = torch.load(args.checkpoint, map_location="cpu", weights_only=True)
model = load_weights(saved["config"]["model"], {k: v.float() for k, v in saved["ema"].items()})
small = shrink_detail(model, args.width)
saved["config"]["model"] = asdict(small.cfg)
torch.save({**{k: saved[k] for k in ("config", "step", "minutes")}, "ema": small.state_dict()}, args.out + ".part")
os.replace(args.out + ".part", args.out)
print(f"{args.out}: {model.parameter_count():,} parameters before, {small.parameter_count():,} after")
