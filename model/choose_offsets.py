"""Which constants, added to the logits, serve objects best; chosen on val.

    python model/choose_offsets.py runs/nuclei-int4/best.pt [--min-area 20 40] [--mpp 0.5 --quality 70]

The network answers every picture once. The constants are then added to the logarithms of its merged probabilities, which is nearly
what package.py --offsets does to the logits of each window.
"""
import argparse
import itertools

import numpy as np
import torch

import tasks
from export_onnx import load_checkpoint
from metrics import means

parser = argparse.ArgumentParser()
parser.add_argument("checkpoint")
parser.add_argument("--sets", nargs="+")
parser.add_argument("--data")
parser.add_argument("--interior", type=float, nargs="+", default=[0.0, -0.2, -0.4])
parser.add_argument("--boundary", type=float, nargs="+", default=[0.0, 0.2, 0.4])
parser.add_argument("--min-area", type=int, nargs="+", default=[20])
parser.add_argument("--mpp", type=float, help="score pictures as scans with pixels of this size")
parser.add_argument("--quality", type=int, help="and as JPEG of this quality")
parser.add_argument("--threads", type=int, default=1)
args = parser.parse_args()

torch.set_num_threads(args.threads)
task = tasks.load("nuclei")
model, _ = load_checkpoint(args.checkpoint)
model.eval()


def run(x):
    with torch.inference_mode():
        return model(torch.from_numpy(np.ascontiguousarray(x, np.float32))).numpy()


samples = task.load_split("val", args.data, sets=args.sets or task.sets_present(args.data))
if args.mpp:
    samples = [task.as_scan(s, args.mpp, args.quality) for s in samples]
answers = [np.log(task.picture_probabilities(run, s).clip(1e-7)).astype(np.float16) for s in samples]
shown = ("dice", "aji", "f1At50", "fragments")
print("background 0, interior, boundary, smallest interior | set and kind: " + ", ".join(task.SCORES[k] for k in shown))
for interior, boundary, area in itertools.product(args.interior, args.boundary, args.min_area):
    offsets = np.array([0, interior, boundary], np.float32)[:, None, None]
    rows = [task.score(s, *task.decide(a.astype(np.float32) + offsets, s, area), distances=False) for s, a in zip(samples, answers)]
    groups = {}
    for r in rows:
        for key in (r["set"], f"{r['set']} {r['kind']}"):
            groups.setdefault(key, []).append(r)
    print(f"{interior:5} {boundary:5} {area:4} | " + " | ".join(
        f"{key}: " + " ".join(f"{means(g, shown)[k]:.4f}" for k in shown) for key, g in groups.items() if len(g) > 2), flush=True)
