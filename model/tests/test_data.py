import numpy as np
import pytest
import torch

from instances import objects_from_classes
from metrics import f1_at
from sliding import gaussian, probabilities, starts
from tasks import nuclei as D
from tasks.nuclei_sampler import coarse_scan


def two_touching():
    y, x = np.mgrid[:60, :80]
    out = np.zeros((60, 80), np.int32)
    out[(y - 30) ** 2 + (x - 25) ** 2 < 225] = 1
    out[((y - 30) ** 2 + (x - 53) ** 2 < 225) & (out == 0)] = 2
    return out


def test_targets_give_the_instances_back():
    truth = two_touching()
    classes = D.targets_from_instances(truth)
    assert set(np.unique(classes)) == {0, 1, 2}
    assert ((classes > 0) == (truth > 0)).all()
    assert (objects_from_classes(classes) == truth).mean() > 0.995
    assert f1_at(objects_from_classes(classes), truth) == 1


def test_between_is_only_where_two_nuclei_meet():
    truth = two_touching()
    between = D.between_instances(truth)
    assert between.any() and between[:, 50:].sum() == 0 and between[:, :28].sum() == 0
    assert D.between_instances(np.where(truth == 1, 1, 0).astype(np.int32)).sum() == 0


def test_a_thin_nucleus_keeps_an_interior():
    truth = np.zeros((20, 40), np.int32)
    truth[8:12, 5:35] = 1                                   # 4 wide: a rim of 2 would leave nothing
    assert (D.targets_from_instances(truth) == D.INTERIOR).sum() == 2 * 28


def sample(kind="fluo", seed=0):
    rng = np.random.default_rng(seed)
    truth = two_touching()
    pixels = (truth > 0)[..., None] * 120 + rng.integers(0, 20, (60, 80, 3))
    return D.Sample("x", kind, "g", 0.5, pixels.astype(np.uint8), truth)


@pytest.mark.parametrize("kind", ["fluo", "stained-purple", "gray-bright"])
def test_crops_are_what_the_network_is_fed(kind):
    sampler = D.Sampler([sample(kind, i) for i in range(3)], size=96, seed=1, between_weight=8.0)
    for _ in range(8):
        pixels, classes, weights = sampler.batch(2)
        assert pixels.shape == (2, 3, 96, 96) and pixels.dtype == torch.float32
        assert classes.shape == weights.shape == (2, 96, 96) and classes.dtype == torch.int64
        assert weights.dtype == torch.float32 and set(weights.unique().tolist()) <= {1.0, 9.0}
        assert pixels.min() >= D.OFFSET and pixels.max() <= D.SCALE + D.OFFSET and torch.isfinite(pixels).all()


def test_the_same_seed_gives_the_same_crops():
    a, b = (D.Sampler([sample()], size=64, seed=5).batch(3)[0] for _ in range(2))
    assert torch.equal(a, b)


def test_pictures_are_drawn_by_kind_and_by_number_of_nuclei():
    many, one = sample(), sample()
    one.instances = np.where(one.instances == 1, 1, 0).astype(one.instances.dtype)
    n = len(np.unique(many.instances)) - 1
    assert n > 1
    assert np.allclose(D.Sampler([many, one]).p, 0.5)
    p = D.Sampler([many, one], count_power=0.5).p
    assert np.isclose(p[0] / p[1], n ** 0.5)
    p = D.Sampler([many, sample("stained-purple")], kind_share={"fluo": 0.6, "stained-purple": 0.2}).p
    assert np.isclose(p[0] / p[1], 3)


def test_affine_crop_identity_and_flip():
    x = torch.arange(3 * 40 * 40, dtype=torch.float32).view(3, 40, 40)
    labels = torch.arange(1600, dtype=torch.int16).view(40, 40)
    px, lb = D.affine_crop(x, labels, 19.5, 19.5, 1.0, 0.0, 1, 16)
    assert torch.allclose(px, x[:, 12:28, 12:28], atol=1e-2) and torch.equal(lb, labels[12:28, 12:28].int())
    px, lb = D.affine_crop(x, labels, 19.5, 19.5, 1.0, 0.0, -1, 16)
    assert torch.equal(lb, labels[12:28, 12:28].flip(1).int())


def test_missing_data_says_where_to_point(tmp_path):
    with pytest.raises(FileNotFoundError, match="--data or TILEWRIGHT_NUCLEI_DATA"):
        D.load_split("val", tmp_path)


def test_a_flat_picture_does_not_divide_by_zero():
    lo, hi = D.percentile_range(np.full((4, 4, 3), 7, np.uint8))
    assert np.isfinite(D.normalise(np.full((4, 4, 3), 7, np.uint8), lo, hi)).all()


@pytest.mark.parametrize("h,w", [(224, 224), (100, 300), (225, 223), (500, 411), (1, 1)])
def test_a_pointwise_network_makes_the_windows_invisible(h, w):
    pixels = np.random.default_rng(0).standard_normal((3, h, w)).astype(np.float32)
    got = probabilities(lambda x: x, pixels)
    e = np.exp(pixels - pixels.max(0))
    np.testing.assert_allclose(got, e / e.sum(0), rtol=2e-5, atol=1e-7)


def test_window_starts_and_weights_of_monai():
    assert starts(1000, 224, 0.25) == [0, 168, 336, 504, 672, 776]
    assert starts(225, 224, 0.25) == [0, 1] and starts(100, 224, 0.25) == [0]
    assert abs(float(gaussian(224).sum(dtype=np.float64)) - 4937.2396) < 1e-3


def centre(mask):
    return (np.argwhere(mask) + 0.5).mean(0)


def test_a_scan_of_larger_pixels_shows_the_same_place():
    y, x = np.mgrid[:200, :160]
    disk = ((y - 90) ** 2 + (x - 60) ** 2 < 20 ** 2).astype(np.int32)
    picture = np.repeat((255 - 200 * disk[..., None]).astype(np.uint8), 3, 2)
    for quality in (None, 60):
        scan = D.as_scan(D.Sample("a", "he", "a", 0.25, picture, disk), 0.5, quality)
        assert scan.pixels.shape == (100, 80, 3) and scan.instances.shape == (100, 80) and scan.mpp == 0.5
        for mask in (scan.instances > 0, scan.pixels[..., 0] < 128):
            # Half a stored pixel: of an even number of pixels the nearest is one beside the middle.
            assert np.abs(centre(mask) * 0.5 - centre(disk > 0) * 0.25).max() < 0.126


def test_a_crop_seen_as_a_coarse_scan_keeps_its_place_and_loses_its_detail():
    y, x = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
    disk = (((y - 30) ** 2 + (x - 20) ** 2) < 100).float()
    checks = ((y + x) % 2).float()
    rng = np.random.default_rng(4)
    for _ in range(8):
        seen = coarse_scan(disk.expand(3, -1, -1), rng)
        assert seen.shape == (3, 64, 64) and 0 <= seen.min() and seen.max() <= 1
        assert np.abs(centre(seen[0].numpy() > 0.5) - centre(disk.numpy() > 0.5)).max() < 0.5
        assert coarse_scan(checks.expand(3, -1, -1), rng).std() < 0.2 * checks.std()
