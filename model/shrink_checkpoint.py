"""A train.py checkpoint small enough to commit: the averaged weights in float16 (--raw: the raw ones too).

    python model/shrink_checkpoint.py runs/nuclei/best.pt --out model/checkpoints/nuclei-c48.pt

What it is for: exporting the float32 ONNX again, pruning and quantising studies, and training on:

    torchrun --nproc-per-node 2 model/train.py model/configs/nuclei.toml --out runs/more --from-checkpoint model/checkpoints/nuclei-c48.pt
"""
import argparse
import os
from pathlib import Path

import torch

parser = argparse.ArgumentParser()
parser.add_argument("checkpoint")
parser.add_argument("--out", required=True)
parser.add_argument("--raw", action="store_true")
args = parser.parse_args()

saved = torch.load(args.checkpoint, map_location="cpu", weights_only=True)
small = {k: saved[k] for k in ("config", "step", "minutes")}
small |= {k: {name: t.half() for name, t in saved[k].items()} for k in (("model", "ema") if args.raw else ("ema",))}
Path(args.out).parent.mkdir(parents=True, exist_ok=True)
torch.save(small, args.out + ".part")
os.replace(args.out + ".part", args.out)
print(f"{args.out}: {Path(args.out).stat().st_size:,} bytes, step {saved['step']}")
