import csv
import json

import imageio.v3 as iio
import numpy as np
import pytest

import domain_statistics as D
import tasks
from tasks import hippocampus as H
from tasks import nuclei as N


def picture(kind, seed=0, size=96):
    """A field of discs: bright on black, or coloured on white, with noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size]
    labels = np.zeros((size, size), np.int32)
    for i in range(1, 9):
        cy, cx = rng.uniform(8, size - 8, 2)
        labels[((y - cy) ** 2 + (x - cx) ** 2 < rng.uniform(25, 60)) & (labels == 0)] = i
    field = (labels > 0) * rng.uniform(0.6, 0.9) + 0.05
    if kind == "fluo":
        pixels = np.repeat(field[..., None], 3, -1) * 200
    else:
        pixels = 235 - field[..., None] * np.array([150, 190, 90])
    return N.Sample(f"{kind}{seed}", kind, "g", 0.25, (pixels + rng.normal(0, 3, pixels.shape)).clip(0, 255).astype(np.uint8), labels)


def found(sample):
    (p,) = N.domain_pictures(sample)
    return D.features(p["pixels"])


def test_histograms_sum_to_one_and_features_are_bounded():
    for kind in ("fluo", "he"):
        f = found(picture(kind))
        assert f["luminance"].sum() == pytest.approx(1) and f["saturation"].sum() == pytest.approx(1)
        assert len(f["luminance"]) == D.BINS and abs(f["colour"].sum()) < 1e-5 and np.isfinite(f["sharpness"])


def test_the_distance_of_histograms_is_the_earth_movers():
    a, b = np.zeros(D.BINS), np.zeros(D.BINS)
    a[3] = b[11] = 1
    assert D.apart("luminance", a, b) == pytest.approx(8 / D.BINS) == D.apart("luminance", b, a)
    assert D.apart("luminance", a, a) == 0


def test_sharpness_falls_with_blur_and_not_with_flips():
    rng = np.random.default_rng(1)
    x = rng.random((3, 64, 64)).astype(np.float32)
    blurred = (x + np.roll(x, 1, 1) + np.roll(x, 1, 2)) / 3
    assert D.features(blurred)["sharpness"] < D.features(x)["sharpness"] - 0.5
    assert D.features(x[:, ::-1])["sharpness"] == pytest.approx(D.features(x)["sharpness"], abs=1e-4)


def test_pictures_of_the_training_kinds_are_near_and_of_others_far():
    domain = D.describe(N, [picture("fluo", i) for i in range(12)])
    near = [D.distance(found(picture("fluo", 100 + i)), domain) for i in range(5)]
    far = [D.distance(found(picture("he", i)), domain) for i in range(5)]
    assert max(d for d, *_ in near) < D.FAR < 2 * D.FAR < min(d for d, *_ in far)
    both = D.describe(N, [picture(k, i) for i in range(12) for k in ("fluo", "he")])
    assert [k["name"] for k in both["kinds"]] == ["fluorescence", "H&E"]
    nearest = D.distance(found(picture("he", 50)), both)
    assert nearest[0] < D.FAR and nearest[1] == "H&E"


def test_sections_count_as_they_are_and_as_re_stained_and_negatives_not():
    sample = picture("he")
    sample.set = "tnbc"
    found = list(N.domain_pictures(sample))
    assert [p["kind"] for p in found] == ["H&E", "IHC (re-stained H&E)"]
    assert all(p["pixels"].min() >= 0 and p["pixels"].max() <= 1 for p in found) and not np.array_equal(*(p["pixels"] for p in found))
    assert np.array_equal(found[1]["pixels"], list(N.domain_pictures(sample))[1]["pixels"])
    sample.set = "negatives"
    assert list(N.domain_pictures(sample)) == []


def test_fluorescence_is_compared_without_its_pseudo_colour():
    domain = D.describe(N, [picture("fluo", i) for i in range(6)])
    assert "saturation" not in domain["kinds"][0] and "colour" not in domain["kinds"][0]
    assert "saturation" in D.describe(N, [picture("he")])["kinds"][0]


def test_a_volume_has_extents_and_no_colours():
    rng = np.random.default_rng(0)
    samples = [H.Sample("v", (2.0, 1.0, 1.0), rng.random((6, 30, 20)).astype(np.float32), np.zeros((6, 30, 20), np.uint8)) for _ in range(3)]
    domain = D.describe(H, samples)
    (kind,) = domain["kinds"]
    assert domain["modality"] == "MR" and kind["extent"] == {"z": {"min": 12, "max": 12}, "y": {"min": 30, "max": 30}, "x": {"min": 20, "max": 20}}
    assert "colour" not in kind and "objectDiameter" not in kind and kind["spacing"]["z"] == {"min": 2, "max": 2}


def test_the_program_writes_the_domain_before_the_variants_and_compares(tmp_path, monkeypatch, capsys):
    data, package = tmp_path / "data", tmp_path / "package"
    package.mkdir()
    (package / "model.json").write_text(json.dumps({"name": "nuclei", "defaultVariant": "a", "variants": {}}))
    for folder in ("images", "labels"):
        (data / folder).mkdir(parents=True)
    with open(data / "split.csv", "w", newline="") as f:
        w = csv.writer(f)
        w.writerow(["id", "kind", "height", "width", "group", "split", "mpp"])
        for i in range(5):
            s = picture("fluo", i)
            w.writerow([s.id, "fluo", 96, 96, s.id, "train" if i < 4 else "val", 0.25])
            iio.imwrite(data / "images" / f"{s.id}.png", s.pixels)
            iio.imwrite(data / "labels" / f"{s.id}.png", s.instances.astype(np.uint16))
    monkeypatch.setattr("sys.argv", ["x", str(package), "--data", str(data)])
    D.main()
    manifest = json.loads((package / "model.json").read_text())
    assert list(manifest) == ["name", "domain", "defaultVariant", "variants"] and manifest["domain"]["kinds"][0]["pictures"] == 4
    monkeypatch.setattr("sys.argv", ["x", str(package), "--data", str(data), "--compare"])
    D.main()
    assert "fluorescence" in capsys.readouterr().out
    assert json.loads((package / "model.json").read_text()) == manifest


@pytest.mark.parametrize("name", tasks.NAMES)
def test_every_task_says_its_modality(name):
    assert tasks.load(name).MODALITY in ("SM", "MR")
