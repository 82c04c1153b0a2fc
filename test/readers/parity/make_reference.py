"""Writes what OpenSlide and tifffile read from the real slides, as small crops.

    pip install numpy pillow tifffile imagecodecs openslide-python openslide-bin
    python test/readers/parity/make_reference.py ../shared/data/slides

For each slide: `fixtures/reference.json` lists regions; `fixtures/<slide>.png` holds their 32 x 32 crops, one below the other, in the
order of the list. Where the licence of a slide does not plainly allow copies (the TCGA slide), only means of 8 x 8
blocks are kept. Sources: CMU-1-Small-Region.svs (CC0, OpenSlide test data), OS-1 and OS-2 (OpenSlide test data,
free to use and distribute), dapi.ndpi ((c) Manuel Stritt, CC BY 4.0).
"""

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import openslide
import tifffile
from PIL import Image

HERE = Path(__file__).parent / "fixtures"
SIDE = 32

# path, referee, pages of tifffile by level (OpenSlide does not read the OME files), whether crops may be kept
SLIDES = [
    ("aperio-jpeg/CMU-1-Small-Region.svs", "openslide", [0], True),
    ("aperio-jpeg2000/tcga-cr-7395-01a-01-ts1.svs", "openslide", [0, 2], False),
    ("ome-tiff/OS-1-detail.ome.tif", "tifffile", [0], True),
    ("ome-tiff/OS-2-ndpi.ome.tif", "tifffile", [0], True),
    ("hamamatsu-ndpi/dapi.ndpi", "openslide", [0, 1, 2, 3], True),
]


def read_level(path, referee, pages, level):
    if referee == "tifffile":
        return tifffile.TiffFile(path).pages[pages[level]].asarray()
    slide = openslide.OpenSlide(str(path))
    return np.array(slide.read_region((0, 0), level, slide.level_dimensions[level]))[..., :3]


def origins(height, width):
    """Corners, a tile border in the middle, and the most detailed place of a coarse grid."""
    return [(0, 0), (height - SIDE, width - SIDE), (height - SIDE, 0), (height // 2 - 7, width // 2 - 9)]


def main(folder):
    report = []
    for name, referee, pages, keep in SLIDES:
        path = folder / name
        regions, crops = [], []
        for level in range(len(pages)):
            pixels = read_level(path, referee, pages, level)
            height, width, _ = pixels.shape
            spots = origins(height, width)
            blocks = pixels[: height // SIDE * SIDE, : width // SIDE * SIDE].reshape(height // SIDE, SIDE, width // SIDE, SIDE, 3)
            y, x = np.unravel_index(blocks.std((1, 3)).sum(-1).argmax(), (height // SIDE, width // SIDE))
            spots.append((int(y) * SIDE, int(x) * SIDE))
            for y, x in spots:
                crop = pixels[y : y + SIDE, x : x + SIDE]
                region = {"level": level, "origin": [y, x]}
                if keep:
                    crops.append(crop)
                else:
                    means = crop.reshape(4, 8, 4, 8, 3).mean((1, 3)).round(3)
                    region["means"] = means.tolist()
                regions.append(region)
            print(name, level, pixels.shape)
        entry = {"path": name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "referee": referee}
        if keep:
            entry["crops"] = f"{path.stem}.png"
            Image.fromarray(np.concatenate(crops)).save(HERE / entry["crops"], optimize=True)
        report.append(entry | {"regions": regions})
    (HERE / "reference.json").write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
