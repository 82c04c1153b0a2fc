"""What Python's Zarr and numcodecs write, for readers to be compared with.

    python make_files.py <directory>                 buffers and stores, and expected.json beside them
    python make_files.py --read <store>...           shape and sha256 of the first level of OME-Zarrs
    python make_files.py --can-run

Seeded; buffers.bin holds pairs of packed and unpacked bytes one after the other, buffers.json where each ends.
"""

import hashlib
import itertools
import json
import sys
from pathlib import Path

import numcodecs
import numpy as np
import zarr

COMPRESSORS = ["blosclz", "lz4", "lz4hc", "zlib", "zstd"]
FILTERS = [numcodecs.Blosc.NOSHUFFLE, numcodecs.Blosc.SHUFFLE, numcodecs.Blosc.BITSHUFFLE]


def smooth(rng, count, dtype):
    """Slopes with a little noise, so that compressors have something to find."""
    steps = rng.integers(-2, 4, count).cumsum()
    steps[rng.random(count) < 0.3] = 7
    return steps.astype(dtype)


def buffers(directory):
    rng = np.random.default_rng(5)
    sizes = [0, 1, 7, 8, 63, 127, 128, 129, 500, 1024, 4095, 40_000]
    dtypes = ["u1", "<u2", "<u4", "<f4", "<f8", "S3", "S16", "S17"]
    packed = []
    with open(directory / "buffers.bin", "wb") as out:
        for cname, shuffle, dtype, size in itertools.product(COMPRESSORS, FILTERS, dtypes, sizes):
            values = smooth(rng, size, dtype if dtype[0] != "S" else "u1")
            if dtype[0] == "S":
                # Samples of any width: bytes as they come.
                values = np.frombuffer(smooth(rng, size * int(dtype[1:]), "u1").tobytes(), dtype)
            for level, block in [(0, 0), (1, 0), (5, 1000), (9, 4096)]:
                codec = numcodecs.Blosc(cname=cname, clevel=level, shuffle=shuffle, blocksize=block)
                pair = [bytes(codec.encode(values)), values.tobytes()]
                packed.append([f"{cname} {shuffle} {dtype} {size} {level} {block}", *map(len, pair)])
                out.writelines(pair)
    (directory / "buffers.json").write_text(json.dumps(packed))


def stores(directory):
    rng = np.random.default_rng(6)
    compressors = {
        2: {
            **{f"blosc-{c}-{s}": numcodecs.Blosc(c, clevel=5, shuffle=s) for c, s in itertools.product(COMPRESSORS, FILTERS)},
            "lz4": numcodecs.LZ4(),
            "zstd": numcodecs.Zstd(3),
            "zstd-checksum": numcodecs.Zstd(3, checksum=True),
            "gzip": numcodecs.GZip(5),
            "zlib": numcodecs.Zlib(5),
        },
        3: {
            **{
                f"blosc-{c}-{s}": zarr.codecs.BloscCodec(cname=c, clevel=5, shuffle=s)
                for c, s in itertools.product(COMPRESSORS, ["noshuffle", "shuffle", "bitshuffle"])
            },
            "zstd": zarr.codecs.ZstdCodec(level=3),
            "zstd-checksum": zarr.codecs.ZstdCodec(level=3, checksum=True),
            "gzip": zarr.codecs.GzipCodec(level=5),
        },
    }
    expected = {}
    for (version, named), dtype in itertools.product(compressors.items(), ["uint8", "uint16", "float32"]):
        for name, compressor in named.items():
            shape = (3, 50, 70)
            data = smooth(rng, int(np.prod(shape)), dtype).reshape(shape)
            key = f"v{version}-{name}-{dtype}.ome.zarr"
            scale = [{"type": "scale", "scale": [1.0, 0.5, 0.5]}]
            multiscales = [
                {
                    "version": "0.4" if version == 2 else "0.5",
                    "axes": [{"name": "c", "type": "channel"}, *({"name": a, "type": "space", "unit": "micrometer"} for a in "yx")],
                    "datasets": [{"path": "0", "coordinateTransformations": scale}],
                }
            ]
            ome = {"multiscales": multiscales}
            group = zarr.create_group(directory / key, zarr_format=version, attributes=ome if version == 2 else {"ome": {"version": "0.5", **ome}})
            group.create_array("0", shape=shape, dtype=dtype, chunks=(1, 32, 40), compressors=compressor)[:] = data
            expected[key] = digest(np.moveaxis(data, 0, -1))
    (directory / "expected.json").write_text(json.dumps(expected))


def digest(values):
    return {"shape": values.shape, "sha256": hashlib.sha256(np.ascontiguousarray(values, dtype="<f8").tobytes()).hexdigest()}


def read(path):
    """[..., channels], as the reader gives it: one z and one time dropped."""
    group = zarr.open_group(path, mode="r")
    attributes = group.attrs.get("ome", group.attrs)
    multiscale = attributes["multiscales"][0]
    axes = [a if isinstance(a, str) else a["name"] for a in multiscale.get("axes", "tczyx")]
    values = group[multiscale["datasets"][0]["path"]][:]
    wanted = [a for a in "zyxc" if a in axes]
    for axis in [a for a in axes if a not in wanted or (a == "z" and values.shape[axes.index(a)] == 1)]:
        values = values.take(0, axis=axes.index(axis))
        axes.remove(axis)
    values = values.transpose([axes.index(a) for a in "zyxc" if a in axes])
    return digest(values if "c" in axes else values[..., None])


if __name__ == "__main__":
    if sys.argv[1] == "--read":
        print(json.dumps({path: read(path) for path in sys.argv[2:]}))
    elif sys.argv[1] != "--can-run":
        buffers(Path(sys.argv[1]))
        stores(Path(sys.argv[1]))
