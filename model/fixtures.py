"""Golden fixtures for the TypeScript tests: what MONAI, scipy and numpy say. Seeded; re-running changes nothing.

    pip install monai==1.6.1 --no-deps
    python model/fixtures.py            # writes test/fixtures/golden

Arrays are {"shape": [...], "float32": base64 of little-endian float32} (or "uint8", "int32"), C order.
"""
from __future__ import annotations

import base64
import json
import math
from itertools import product
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage

from instances import objects_from_classes

OUT = Path(__file__).parent.parent / "test" / "fixtures" / "golden"


def array(x, dtype="float32"):
    x = np.ascontiguousarray(x, dtype=np.dtype(dtype).newbyteorder("<"))
    return {"shape": list(x.shape), dtype: base64.b64encode(x.tobytes()).decode()}


def write(name, content):
    OUT.mkdir(parents=True, exist_ok=True)
    cases = [json.dumps(c, separators=(",", ":")) for c in content["cases"]]
    head = json.dumps({k: v for k, v in content.items() if k != "cases"}, separators=(",", ":"))[1:-1]
    (OUT / name).write_text("{" + head + ',"cases":[\n' + ",\n".join(cases) + "\n]}\n")
    print(f"{name}: {len(cases)} cases, {(OUT / name).stat().st_size} bytes")


# --- window starts ---------------------------------------------------------------------------------------------

def monai_starts(n, window, overlap):
    from monai.data.utils import dense_patch_slices
    from monai.inferers.utils import _get_scan_interval
    interval = _get_scan_interval((n,), (window,), 1, (overlap,))
    return [int(s[0].start) for s in dense_patch_slices((n,), (window,), interval)]


def nnunet_starts(n, window, step):
    # compute_steps_for_sliding_window of nnU-Net v2 (nnunetv2/inference/sliding_window_prediction.py), in our words
    count = math.ceil((n - window) / (window * step)) + 1
    actual = (n - window) / (count - 1) if count > 1 else 0
    return [int(np.round(actual * i)) for i in range(count)]


def windows():
    sizes = [(110, 64), (1000, 224), (512, 224), (225, 224), (224, 224), (223, 224), (1, 224), (1, 1), (7, 3), (65, 64), (127, 64),
             (128, 64), (129, 64), (2220, 224), (2967, 224), (4443, 224), (3567, 224), (40000, 224), (50, 16), (47, 16), (31, 32),
             (20, 12), (18, 10), (15, 8), (100, 1), (10, 7), (333, 97)]
    rng = np.random.default_rng(7)
    sizes += [(int(n), int(w)) for n, w in zip(rng.integers(1, 3000, 14), rng.integers(1, 513, 14))]
    cases = []
    for (n, w), overlap in product(sizes, (0.0, 0.1, 0.25, 0.5, 0.75)):
        if n / w > 40 and overlap not in (0.25, 0.5):
            continue                                      # long lists, nothing new
        if n == 40000 and overlap != 0.25:
            continue
        padded = max(n, w)
        pad = {"before": (padded - n) // 2, "after": padded - n - (padded - n) // 2}
        cases.append({"policy": "monai", "n": n, "window": w, "overlapRatio": overlap, "padded": padded, "pad": pad,
                      "starts": monai_starts(padded, w, overlap)})
        cases.append({"policy": "nnunet", "n": n, "window": w, "overlapRatio": overlap, "step": 1 - overlap, "padded": padded, "pad": pad,
                      "starts": nnunet_starts(padded, w, 1 - overlap)})
    write("windows.json", {"about": "Window starts on the padded axis; pad is centred and only where n < window. "
                                    "MONAI 1.6.1 dense_patch_slices; nnU-Net v2 compute_steps_for_sliding_window.", "cases": cases})


# --- importance maps -------------------------------------------------------------------------------------------

def monai_importance(window):
    """(before the clamp, as used). MONAI 1.6 clamps to max(min, 1e-3) inside compute_importance_map."""
    from monai.data.utils import compute_importance_map
    used = compute_importance_map(tuple(window), mode="gaussian", sigma_scale=0.125, device="cpu", dtype=torch.float32).numpy()
    raw = np.ones(window)
    for axis, n in enumerate(window):
        x = np.arange(n) - (n - 1) / 2
        raw *= np.exp(x ** 2 / (-2 * (0.125 * n) ** 2)).reshape([-1 if a == axis else 1 for a in range(len(window))])
    assert np.allclose(used, raw.clip(max(raw.min(), 1e-3)), rtol=1e-5, atol=0)
    return raw, used


def nnunet_importance(window):
    # compute_gaussian of nnU-Net v2: value_scaling_factor 10, sigma_scale 1/8, float16
    delta = np.zeros(window)
    delta[tuple(n // 2 for n in window)] = 1
    g = ndimage.gaussian_filter(delta, [n / 8 for n in window], 0, mode="constant", cval=0)
    g = (g / (g.max() / 10)).astype(np.float16)
    g[g == 0] = g[g != 0].min()
    return g.astype(np.float32)


def importance():
    cases = []
    for window in ([16, 16], [64, 64], [12, 10, 8], [7, 5], [1, 9], [224, 224], [512, 512], [224, 112]):
        for kind in ("constant", "gaussian-monai", "gaussian-nnunet"):
            raw = None
            if kind == "constant":
                used = np.ones(window, np.float32)
            elif kind == "gaussian-monai":
                raw, used = monai_importance(window)
            else:
                used = nnunet_importance(window)
            middle = tuple(n // 2 for n in window)
            case = {"kind": kind, "window": window, **spots(used, middle), "sum": float(used.sum(dtype=np.float64))}
            if raw is not None:
                case["raw"] = spots(raw, middle)          # before the clamp to max(min, 1e-3)
            if used.size <= 1024:
                case["values"] = array(used)
            elif used.ndim == 2 and used.shape[0] <= 64:
                case["rowMiddle"] = array(used[middle[0]])
                case["diagonal"] = array(np.diagonal(used))
            cases.append(case)
    write("importance.json", {"about": "Weights as used for blending. centre is at n//2 on every axis, corner at 0, edgeMid at 0 on the first axis "
                                       "and n//2 on the others, lastEdgeMid at n-1 on the first.", "cases": cases})


def spots(m, middle):
    return {"centre": float(m[middle]), "corner": float(m[(0,) * m.ndim]), "edgeMid": float(m[(0, *middle[1:])]),
            "lastEdgeMid": float(m[(-1, *middle[1:])])}


# --- merged values ---------------------------------------------------------------------------------------------

def merge():
    from monai.inferers import SlidingWindowInferer
    for name, size, roi, overlap, mode, K in (
            ("merge-2d", (50, 47), (16, 16), 0.25, "gaussian", 3),
            ("merge-2d-constant", (33, 40), (16, 12), 0.5, "constant", 2),
            ("merge-2d-small", (20, 37), (24, 16), 0.25, "gaussian", 2),
            ("merge-3d", (14, 13, 17), (8, 6, 8), 0.25, "gaussian", 2)):
        rng = np.random.default_rng(len(name))
        image = rng.standard_normal(size).astype(np.float32)
        gain = rng.uniform(0.5, 1.5, (K, *roi)).astype(np.float32)
        offset = rng.standard_normal(K).astype(np.float32)
        g, o = torch.from_numpy(gain), torch.from_numpy(offset).view(1, K, *[1] * len(size))
        # each sample of a window is answered differently by where it lies in the window, so wrong weights show
        inferer = SlidingWindowInferer(roi, sw_batch_size=4, overlap=overlap, mode=mode, sigma_scale=0.125, padding_mode="constant", cval=0.0)
        result = inferer(torch.from_numpy(image)[None, None], lambda x: x * g[None] + o)[0].numpy()
        write(f"{name}.json", {
            "about": "MONAI 1.6.1 SlidingWindowInferer. A window w (zero-padded where image < roi) is answered by "
                     "w[i] * gain[k, i] + offset[k]; expected is the blended [K, ...size].",
            "cases": [{"size": list(size), "roi": list(roi), "overlapRatio": overlap, "importance": mode, "classes": K, "sigmaScale": 0.125,
                       "image": array(image), "gain": array(gain), "offset": array(offset), "expected": array(result)}]})


# --- small numerics --------------------------------------------------------------------------------------------

def percentiles():
    rng = np.random.default_rng(3)
    cases = []
    for dtype, values in (("uint8", rng.integers(0, 256, 1000)), ("uint8", rng.poisson(4, 777)), ("uint8", np.full(50, 7)), ("uint8", [9]),
                          ("uint16", rng.integers(0, 65536, 501)), ("float32", rng.standard_normal(333)), ("uint8", [0, 255])):
        values = np.asarray(values).astype(dtype)
        q = [0, 1, 2.5, 50, 99, 99.8, 100]
        cases.append({"dtype": dtype, "values": values.astype(np.float64).round(7).tolist() if dtype == "float32" else values.tolist(),
                      "percentiles": q, "expected": np.percentile(np.asarray(values, np.float64).round(7), q).tolist()})
    write("percentiles.json", {"about": "numpy.percentile, method linear, in float64.", "cases": cases})


def softmax():
    rng = np.random.default_rng(4)
    cases = []
    for logits in (rng.standard_normal((3, 4, 5)) * 3, rng.standard_normal((2, 3, 3)) * 200, np.zeros((5, 1, 2)),
                   np.array([[[1000.0]], [[999.0]], [[-1000.0]]])):
        logits = logits.astype(np.float32)
        e = np.exp(logits.astype(np.float64) - logits.max(0))
        cases.append({"logits": array(logits), "softmax": array(e / e.sum(0)), "sigmoid": array(sigmoid(logits.astype(np.float64))),
                      "argmax": array(logits.argmax(0), "uint8")})
    write("softmax.json", {"about": "Over axis 0 of [K, H, W]; computed in float64, stored as float32.", "cases": cases})


def sigmoid(x):
    return np.where(x >= 0, 1 / (1 + np.exp(-np.abs(x))), np.exp(-np.abs(x)) / (1 + np.exp(-np.abs(x))))


# --- components, holes, objects --------------------------------------------------------------------------------

MASKS = {
    "ring": ["......", ".####.", ".#..#.", ".#..#.", ".####.", "......"],
    "diagonal": ["#..", ".#.", "..#"],
    "checker": ["#.#.", ".#.#", "#.#.", ".#.#"],
    "ring in ring": ["#######", "#.....#", "#.###.#", "#.#.#.#", "#.###.#", "#.....#", "#######"],
    "hole touching at a corner": [".....", ".##..", ".#.#.", "..##.", "....."],
    "u and bar": ["#.#..###", "#.#.....", "###..###", "........", "####...#"],
    "empty": ["...", "..."],
    "full": ["##", "##"],
    "two holes": ["#######", "#.#.#.#", "#######"],
    "spiral": ["########", "#......#", "#.####.#", "#.#..#.#", "#.##.#.#", "#....#.#", "######.#", ".......#"],
}


def components():
    cases = []
    rng = np.random.default_rng(5)
    masks = {k: np.array([[c == "#" for c in row] for row in rows]) for k, rows in MASKS.items()}
    masks |= {f"random {d}": rng.random((12, 15)) < d for d in (0.4, 0.55, 0.7)}
    for (name, mask), connectivity in product(masks.items(), (4, 8)):
        eight = np.ones((3, 3))
        labels, n = ndimage.label(mask, eight if connectivity == 8 else None)
        objects = []
        for i in range(1, n + 1):
            one = np.pad(labels == i, 1)
            # the outside of a 4-connected object is 8-connected, and the other way round
            outside, m = ndimage.label(~one, None if connectivity == 8 else eight)
            hole_areas = sorted(int((outside == j).sum()) for j in range(1, m + 1) if j != outside[0, 0])
            edges = int((one[1:] != one[:-1]).sum() + (one[:, 1:] != one[:, :-1]).sum())
            objects.append({"label": i, "area": int(one.sum()), "holeAreas": hole_areas, "edgeLength": edges})
        cases.append({"name": name, "connectivity": connectivity, "mask": ["".join(".#"[int(v)] for v in row) for row in mask],
                      "labels": labels.tolist(), "objects": objects})
    write("components.json", {"about": "scipy.ndimage.label; numbered in raster order of the first sample. A hole is a part of the complement that does "
                                       "not reach the border, under the dual connectivity. edgeLength counts sample edges, holes included.", "cases": cases})


def objects():
    cases = []
    rng = np.random.default_rng(6)
    for shape, smooth, min_area in (((20, 24), 1.2, 4), ((30, 31), 1.6, 8), ((9, 40), 1.0, 1), ((16, 16), 2.5, 12)):
        field = ndimage.gaussian_filter(rng.standard_normal(shape), smooth)
        field /= field.std()
        classes = np.where(field > 0.6, 1, np.where(field > -0.1, 2, 0)).astype(np.uint8)
        cases.append({"classes": ["".join(map(str, row)) for row in classes], "interior": 1, "boundary": 2, "connectivity": 4, "minArea": min_area,
                      "objects": objects_from_classes(classes, min_area).tolist()})
    write("objects.json", {"about": "model/instances.py: 4-connected interior components of at least minArea samples, grown into the boundary class in "
                                    "rounds; each free boundary sample takes the label its first labelled neighbour (up, left, right, down) had "
                                    "before the round.", "cases": cases})


if __name__ == "__main__":
    windows()
    importance()
    merge()
    percentiles()
    softmax()
    components()
    objects()
