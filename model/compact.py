"""A train.py checkpoint small enough to commit: raw and averaged weights in float16, no optimizer state.

    python model/compact.py runs/nuclei/stable.pt --out model/checkpoints/nuclei-c48.pt
    torchrun --nproc-per-node 2 model/train.py model/configs/nuclei.toml --out runs/more --from-checkpoint model/checkpoints/nuclei-c48.pt

Take stable.pt (before the decay) to train longer: a decayed network sits in a narrow minimum that the full rate throws it out of.
"""
import argparse
import os
from pathlib import Path

import torch

parser = argparse.ArgumentParser()
parser.add_argument("checkpoint")
parser.add_argument("--out", required=True)
args = parser.parse_args()

saved = torch.load(args.checkpoint, map_location="cpu", weights_only=True)
small = {k: saved[k] for k in ("config", "step", "minutes")}
small |= {k: {name: t.half() for name, t in saved[k].items()} for k in ("model", "ema")}
Path(args.out).parent.mkdir(parents=True, exist_ok=True)
torch.save(small, args.out + ".part")
os.replace(args.out + ".part", args.out)
print(f"{args.out}: {Path(args.out).stat().st_size:,} bytes, step {saved['step']}")
