"""The training and validation pictures of several sets in one small file, to take to another machine; --data takes it as it is.

    python model/pack_pictures.py --sets dsb2018 tnbc nuinsseg negatives --out runs/pictures.zip [--quality 80]

The format: tasks/nuclei_packed.py.
"""
from __future__ import annotations

import argparse
import os
import sys

from tasks import nuclei_packed
from tasks.nuclei_data import load_split

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--data")
    parser.add_argument("--sets", nargs="+", required=True)
    parser.add_argument("--quality", type=int, default=80, help="of JPEG, 1 to 95")
    parser.add_argument("--out", required=True)
    args = parser.parse_args()
    try:
        splits = {split: load_split(split, args.data, sets=args.sets) for split in ("train", "val")}
    except (ValueError, OSError) as e:
        sys.exit(str(e))
    nuclei_packed.write(args.out, splits, args.quality)
    print(f"{args.out}: {', '.join(f'{len(samples)} {split}' for split, samples in splits.items())}, {os.path.getsize(args.out) / 1e6:.1f} MB")
