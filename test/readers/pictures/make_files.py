"""Writes TIFF, PNG and JPEG files of every kind that tifffile and Pillow write, with what they read from them.

    pip install numpy tifffile imagecodecs pillow
    python test/readers/pictures/make_files.py FOLDER

`expected.json` has for each file its shape [..., channels], the SHA-256 of its samples as float64 (or, where two decoders
round differently, the samples in `<name>.npy` and how far they may be off), and its spacing.
"""

import hashlib
import itertools
import json
import sys
from pathlib import Path

import imagecodecs  # noqa: F401 - tifffile packs with it
import numpy as np
import tifffile
from PIL import Image

RNG = np.random.default_rng(20)
HEIGHT, WIDTH = 37, 53


def samples(dtype, *shape):
    whole = RNG.integers(0, 250, shape)
    return (whole / 7 if np.dtype(dtype).kind == "f" else whole).astype(dtype)


def smooth():
    ramp = np.add.outer(np.arange(HEIGHT) * 3, np.arange(WIDTH) * 2)[..., None]
    return np.clip(ramp + np.array([0, 30, 60]), 0, 255).astype("uint8")


class Files:
    def __init__(self, folder):
        self.folder = folder
        self.expected = {}

    def expect(self, name, pixels, spacing=None, within=0):
        pixels = np.ascontiguousarray(pixels, "float64")
        entry = {"shape": pixels.shape, "spacing": spacing, "within": within}
        if within:
            entry["values"] = pixels.ravel().astype(int).tolist()
        else:
            entry["sha256"] = hashlib.sha256(pixels.tobytes()).hexdigest()
        self.expected[name] = entry

    def tiff(self, name, data, pixels, spacing=None, **options):
        tifffile.imwrite(self.folder / name, data, **options)
        self.expect(name, pixels, spacing)

    def pillow(self, name, image, pixels, within=0, **options):
        image.save(self.folder / name, **options)
        self.expect(name, pixels, within=within)


def with_channel(pixels):
    pixels = np.asarray(pixels)
    return pixels[..., None] if pixels.ndim == 2 else pixels


def storage(files):
    # No bool: tifffile packs rows whose width is no multiple of 8 without a gap between them, and nobody else reads that.
    dtypes = "uint8 uint16 uint32 uint64 int8 int16 int32 int64 float16 float32 float64".split()
    for dtype, packing, order in itertools.product(dtypes, [None, "zlib", "lzw", "packbits", "zstd"], "<>"):
        wide = np.dtype(dtype).itemsize == 8 and np.dtype(dtype).kind != "f"
        for predictor in (False, True):
            if predictor and (wide or packing in (None, "packbits")):
                continue
            data = samples(dtype, HEIGHT, WIDTH)
            name = f"{dtype}-{packing}-{'predicted-' if predictor else ''}{'le' if order == '<' else 'be'}.tif"
            options = {"compression": packing, "predictor": predictor, "byteorder": order, "metadata": None}
            files.tiff(name, data, with_channel(data), **options)


def layouts(files):
    for dtype, tile, big in itertools.product(["uint8", "uint16", "float32"], [None, (16, 16)], [False, True]):
        tag = f"{dtype}-{'tiles' if tile else 'strips'}{'-big' if big else ''}"
        shared = {"tile": tile, "bigtiff": big, "metadata": None}
        rgb = samples(dtype, HEIGHT, WIDTH, 3)
        files.tiff(f"rgb-{tag}.tif", rgb, rgb, photometric="rgb", **shared)
        apart = np.moveaxis(rgb, 2, 0)
        files.tiff(f"apart-{tag}.tif", apart, rgb, photometric="rgb", planarconfig="separate", **shared)
        rgba = samples(dtype, HEIGHT, WIDTH, 4)
        files.tiff(f"rgba-{tag}.tif", rgba, rgba[..., :3], photometric="rgb", extrasamples=["unassalpha"], **shared)


def stacks(files):
    shapes = {
        "CYX": (3, HEIGHT, WIDTH),
        "ZYX": (4, HEIGHT, WIDTH),
        "ZCYX": (4, 2, HEIGHT, WIDTH),
        "CZYX": (2, 4, HEIGHT, WIDTH),
        "TZCYX": (1, 3, 2, HEIGHT, WIDTH),
        "YXS": (HEIGHT, WIDTH, 3),
        "ZYXS": (4, HEIGHT, WIDTH, 3),
    }
    for axes, shape in shapes.items():
        data = samples("uint8" if "S" in axes else "uint16", *shape)
        given = [axis for axis in axes if axis != "T"]
        order = [given.index(axis) for axis in "ZYX" if axis in given]
        pixels = data.reshape([n for axis, n in zip(axes, shape) if axis != "T"])
        channel = [given.index(axis) for axis in "CS" if axis in given]
        pixels = np.transpose(pixels, order + channel)
        pixels = pixels if channel else pixels[..., None]
        photometric = "rgb" if "S" in axes else "minisblack"
        deep = "Z" in axes
        spaced = [2.0, 0.25, 0.25] if deep else [0.25, 0.25]
        for packing in (None, "zlib"):
            tag = f"{axes}-{packing}"
            options = {"photometric": photometric, "compression": packing}
            files.tiff(f"shaped-{tag}.tif", data, pixels, None, metadata={"axes": axes}, **options)
            sizes = {"axes": axes, "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.25, "PhysicalSizeZ": 2.0}
            ome = [2.0, 0.25, 0.5] if deep else [0.25, 0.5]
            files.tiff(f"{tag}.ome.tif", data, pixels, ome, ome=True, metadata=sizes, **options)
        if axes != "CZYX":
            metadata = {"axes": axes, "unit": "um", "spacing": 2.0}
            files.tiff(
                f"imagej-{axes}.tif", data, pixels, spaced, imagej=True, metadata=metadata, resolution=(4, 4)
            )


def pillow(files):
    noise = Image.fromarray(samples("uint8", HEIGHT, WIDTH, 3))
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"):
        image = noise.convert("I").convert("I;16") if mode == "I;16" else noise.convert(mode)
        plain = image.convert({"1": "L", "LA": "L", "P": "RGB", "RGBA": "RGB"}.get(mode, mode))
        if mode in ("LA", "RGBA"):
            plain = Image.fromarray(np.asarray(image)[..., : 1 if mode == "LA" else 3].squeeze())
        pixels = with_channel(plain)
        tag = mode.replace(";", "")
        files.pillow(f"pillow-{tag}.png", image, pixels)
        for packing in ("raw", "tiff_lzw", "packbits", "tiff_adobe_deflate"):
            files.pillow(f"pillow-{tag}-{packing}.tif", image, pixels, compression=packing)
    soft = Image.fromarray(smooth())
    for name, options in {
        "baseline": {"subsampling": 0},
        "halved": {"subsampling": 2},
        "progressive": {"progressive": True},
        "restarts": {"restart_marker_blocks": 3},
    }.items():
        path = files.folder / f"{name}.jpg"
        soft.save(path, quality=90, **options)
        files.expect(path.name, np.asarray(Image.open(path)), within=2)
    for mode in ("L", "LA", "RGB", "RGBA"):
        path = files.folder / f"jpeg-in-{mode}.tif"
        soft.convert(mode).save(path, compression="jpeg", quality=90)
        pixels = np.asarray(Image.open(path))
        pixels = pixels[..., : {"LA": 1, "RGBA": 3}[mode]] if mode.endswith("A") else pixels
        files.expect(path.name, with_channel(pixels), within=2)


def faxes(files):
    for width, share in itertools.product((1, 8, 53, 2600), (0.03, 0.5, 1.0)):
        rows = RNG.random((HEIGHT, width)) < share
        for packing in ("group3", "group4", "tiff_ccitt"):
            for options in (0, 1, 5) if packing == "group3" else (0,):
                tags = {292: options} if options else {}
                name = f"{packing}-{width}-{share}-{options}.tif"
                image = Image.fromarray(rows)
                files.pillow(name, image, with_channel(rows * 255.0), compression=packing, tiffinfo=tags)


def main(folder):
    files = Files(folder)
    storage(files)
    layouts(files)
    stacks(files)
    pillow(files)
    faxes(files)
    (folder / "expected.json").write_text(json.dumps(files.expected))


if __name__ == "__main__" and sys.argv[1] != "--can-run":
    main(Path(sys.argv[1]))
