import csv

import imageio.v3 as iio
import numpy as np
import pytest
import torch

from losses import segmentation_loss
from metrics import fragments
from tasks import nuclei as N
from tasks import nuclei_packed
from tasks import stains as S
from test_data import two_touching


def stained(amounts, white=240.0):
    """[2, ...] amounts of haematoxylin and eosin -> intensities [3, ...]."""
    return S.intensity(np.einsum("sc,s...->c...", S.basis(S.HAEMATOXYLIN, S.EOSIN)[:2], amounts), white)


def test_amounts_of_stain_come_back_from_the_density():
    rng = np.random.default_rng(0)
    amounts = rng.uniform(0, 1.5, (2, 20, 30))
    od = S.density(stained(amounts), 240.0)
    assert np.allclose((S.UNMIX @ od.reshape(3, -1))[:2].reshape(amounts.shape), amounts, atol=1e-6)
    assert (S.density(np.zeros((3, 1)), 240.0) == S.density(np.ones((3, 1)), 240.0)).all()


def test_a_staining_that_changes_nothing_gives_the_picture_back():
    v = stained(np.random.default_rng(1).uniform(0, 1, (2, 8, 8)))
    same = S.Staining(S.basis(S.HAEMATOXYLIN, S.EOSIN).T, np.ones(3))
    assert np.allclose(S.intensity(same(S.density(v, 240.0)), 240.0), v, rtol=1e-4)


def test_glass_stays_glass_and_thicker_stain_is_darker():
    rng = np.random.default_rng(2)
    for make in (S.other_he, S.ihc):
        staining = make(rng)
        assert (staining(np.zeros((3, 4))) == 0).all()
        thin, thick = (staining(S.density(stained(np.full((2, 1), a)), 240.0)).sum() for a in (0.2, 0.8))
        assert thick > thin > 0


def test_dab_is_on_instances_and_little_of_it_elsewhere():
    labels = two_touching()
    found = [S.dab_amount(labels, np.ones(labels.shape), np.random.default_rng(i)) for i in range(40)]
    assert all(f.shape == labels.shape and (f >= 0).all() and np.isfinite(f).all() for f in found)
    inside, far = (np.mean([f[m].mean() for f in found]) for m in (labels > 0, np.hypot(*np.mgrid[-30:30, -40:40]) > 36))
    assert inside > 4 * far


def test_restaining_keeps_the_range_in_order_and_the_seed_decides():
    labels, amounts = two_touching(), np.random.default_rng(3).uniform(0, 0.3, (2, 60, 80))
    amounts[0][labels > 0] += 0.8
    v = stained(amounts).astype(np.float32)
    reference = v.reshape(3, -1)[:, ::7]
    a, b = (S.restain(v, labels, 240.0, reference, np.random.default_rng(5), ihc_share=1) for _ in range(2))
    assert np.array_equal(a[0], b[0]) and a[1:] == b[1:]
    for i in range(20):
        out, lo, hi = S.restain(v, labels, 240.0, reference, np.random.default_rng(i), ihc_share=0.5)
        assert out.shape == v.shape and 0 <= lo < hi <= 241 and np.isfinite(out).all()
        slide_lo, slide_hi = S.slide_range(lo, hi, np.random.default_rng(i))
        assert 0 <= slide_lo < slide_hi and slide_hi >= hi - 1e-6


# Sets -----------------------------------------------------------------------------------------------------------------------------

def write_set(root, kind="he", mpp=None, split=("train", "val"), end="png"):
    labels = two_touching()
    pixels = (235 - (labels > 0)[..., None] * np.array([120, 150, 60])).astype(np.uint8)
    for folder in ("images", "labels"):
        (root / folder).mkdir(parents=True)
    with open(root / "split.csv", "w", newline="") as f:
        w = csv.writer(f)
        w.writerow(["id", "kind", "height", "width", "group", "split"] + (["mpp"] if mpp else []))
        for name in split:
            w.writerow([name, kind, *labels.shape, name, name] + ([mpp] if mpp else []))
            iio.imwrite(root / "images" / f"{name}.{end}", pixels)
            iio.imwrite(root / "labels" / f"{name}.png", labels.astype(np.uint16))


def test_pixel_sizes_come_from_the_column_then_the_set_then_the_table(tmp_path):
    write_set(tmp_path / "nuclei-tnbc", mpp=0.31)
    write_set(tmp_path / "nuclei-nuinsseg", end="jpg")
    write_set(tmp_path / "nuclei-dsb2018", kind="fluo")
    samples = N.load_split("val", tmp_path, sets=("tnbc", "nuinsseg", "dsb2018"))
    assert [(s.set, s.mpp) for s in samples] == [("tnbc", 0.31), ("nuinsseg", 0.2), ("dsb2018", N.UNKNOWN_MPP)]
    assert N.sets_present(tmp_path) == ["dsb2018", "tnbc", "nuinsseg"] == N.sets_present(tmp_path / "nuclei-tnbc")
    assert N.load_split("val", tmp_path / "nuclei-tnbc", sets=("tnbc",))[0].set == "tnbc"
    assert N.load_split("val", tmp_path / "nuclei-dsb2018", sets=("tnbc",))[0].set == "tnbc"
    with pytest.raises(ValueError, match="no set of nuclei is called liver; there are dsb2018, tnbc, nuinsseg"):
        N.load_split("val", tmp_path, sets=("liver",))


def test_a_set_that_is_missing_is_named(tmp_path):
    write_set(tmp_path / "nuclei-dsb2018")
    assert N.sets_present(tmp_path) == ["dsb2018"] == N.sets_present(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="Give the folder of tnbc"):
        N.load_split("val", tmp_path, sets=("dsb2018", "tnbc"))


def test_packed_pictures_are_those_of_the_folders(tmp_path):
    write_set(tmp_path / "nuclei-tnbc", mpp=0.25)
    write_set(tmp_path / "nuclei-nuinsseg")
    splits = {split: N.load_split(split, tmp_path, sets=("tnbc", "nuinsseg")) for split in ("train", "val")}
    whole = np.arange(30, dtype=np.uint8).reshape(10, 3)
    unknown = np.full((8, 8), N.UNKNOWN, np.int32)
    splits["train"].append(N.Sample("0", "ink", "negatives/0", 0.5, np.full((8, 8, 3), 99, np.uint8), unknown, "negatives", whole))
    nuclei_packed.write(tmp_path / "all.zip", splits, quality=95)

    fine, reduced = N.load_split("val", tmp_path / "all.zip", sets=("tnbc", "nuinsseg"))
    assert (fine.id, fine.kind, fine.group, fine.mpp, fine.set) == ("val", "he", "tnbc/val", 0.25, "tnbc")
    assert (fine.instances == splits["val"][0].instances).all()
    assert np.abs(fine.pixels.astype(int) - splits["val"][0].pixels).mean() < 4
    assert reduced.mpp == N.MODEL_MPP and reduced.pixels.shape[0] == round(splits["val"][1].pixels.shape[0] * 0.2 / 0.25)
    assert set(np.unique(reduced.instances)) == set(np.unique(splits["val"][1].instances))
    (part,) = N.load_split("train", tmp_path / "all.zip", sets=("negatives",))
    assert (part.instances == N.UNKNOWN).all() and (part.whole == whole).all() and part.mpp == 0.5
    assert len(N.load_split("train", tmp_path / "all.zip", 1, ("tnbc", "negatives"))) == 2
    with pytest.raises(ValueError, match='no picture of the split "val" in negatives'):
        N.load_split("val", tmp_path / "all.zip", sets=("negatives",))


def sampler(set_name, instances, whole=None):
    pixels = (235 - (instances > 0)[..., None] * np.array([120, 150, 60])).astype(np.uint8)
    return N.Sampler([N.Sample("a", "he", "g", 0.25, pixels, instances, set_name, whole)], size=64, seed=4, between_weight=8.0,
                     kind_share={set_name: 1.0})


def test_the_cuts_of_a_set_have_no_weight_and_the_annotators_have_more():
    cut, drawn = (sampler(name, two_touching()).batch(12) for name in ("nuinsseg", "tnbc"))
    assert set(cut[2].unique().tolist()) == {0.0, 1.0} and (cut[1][cut[2] == 0] > 0).all()
    assert set(drawn[2].unique().tolist()) == {1.0, 9.0}
    for pixels, *_ in (cut, drawn):
        assert torch.isfinite(pixels).all() and pixels.min() >= -1 and pixels.max() <= 1


@pytest.mark.parametrize("centred, least, most", [(1.0, 40, 40), (0.5, 20, 32), (0.0, 1, 18)])
def test_as_many_crops_have_a_nucleus_as_the_set_wants(centred, least, most):
    instances = np.zeros((240, 240), np.int32)
    instances[20:36, 20:36] = 1                             # one corner of a picture that is nearly empty
    pixels = (235 - (instances > 0)[..., None] * np.array([120, 150, 60])).astype(np.uint8)
    crops = N.Sampler([N.Sample("a", "he", "g", 0.25, pixels, instances, "tnbc")], size=64, seed=4, kind_share={"tnbc": 1.0},
                      set_centred_share={"tnbc": centred}, set_scale_range={"tnbc": [0.8, 1.0]})
    _, classes, _ = crops.batch(40)
    assert least <= (classes > 0).flatten(1).any(1).sum() <= most


def test_what_is_unknown_has_no_weight_and_no_nucleus():
    instances = np.full((90, 90), N.UNKNOWN, np.int32)
    instances[30:60, 30:60] = 0
    _, classes, weights = sampler("negatives", instances, np.random.default_rng(0).integers(40, 250, (500, 3)).astype(np.uint8)).batch(12)
    assert (classes == 0).all() and set(weights.unique().tolist()) == {0.0, 1.0}


def test_no_loss_comes_from_where_nothing_is_known():
    rng = torch.Generator().manual_seed(0)
    classes = torch.zeros(1, 16, 16, dtype=torch.int64)
    classes[:, 2:8, 2:8] = 1
    weights = torch.ones(1, 16, 16)
    weights[:, 10:] = 0
    options = {"class_weights": torch.ones(3), "pair_share": 0.4, "picture_share": 0.6, "sharpness": 3.0}
    logits = torch.randn(1, 3, 16, 16, generator=rng)
    other = logits.clone()
    other[:, :, 10:] += torch.randn(1, 3, 6, 16, generator=rng)
    assert segmentation_loss(logits, classes, sample_weights=weights, **options).item() == \
        pytest.approx(segmentation_loss(other, classes, sample_weights=weights, **options).item(), abs=1e-6)


def test_on_a_cut_either_foreground_class_is_right_and_background_is_not():
    classes = torch.ones(1, 8, 8, dtype=torch.int64)
    weights = torch.ones(1, 8, 8)
    weights[:, :, 4:] = 0

    def loss(cut_class):
        logits = torch.full((1, 3, 8, 8), -6.0)
        logits[:, 1, :, :4] = 6
        logits[:, cut_class, :, 4:] = 6
        return segmentation_loss(logits, classes, torch.ones(3), weights, picture_share=0.6).item()
    assert loss(1) == pytest.approx(loss(2), abs=1e-6) and loss(0) > loss(1) + 0.05


def test_the_quick_validation_tells_of_every_set_and_kind(tmp_path):
    write_set(tmp_path / "nuclei-tnbc", mpp=0.25)
    write_set(tmp_path / "nuclei-dsb2018", kind="fluo")
    check = N.QuickValidation(N.load_split("val", tmp_path, sets=("dsb2018", "tnbc")), 64)
    assert len(check) == 4                                  # a bright-field picture gives two corners as well
    scores = check(lambda x: torch.eye(3)[1].view(1, 3, 1, 1).expand(len(x), 3, 64, 64))
    assert scores["dice"] == pytest.approx((scores["dsb2018/fluo dice"] + scores["tnbc/he dice"]) / 2)
    alone = N.QuickValidation(N.load_split("val", tmp_path / "nuclei-dsb2018"), 64)
    assert list(alone(lambda x: torch.zeros(len(x), 3, 64, 64))) == ["dice", "f1"]


# Fragments -----------------------------------------------------------------------------------------------------------------------

def test_fragments_count_the_pieces_of_nuclei_that_were_found():
    truth = np.zeros((20, 60), np.int32)
    truth[5:15, 5:15], truth[5:15, 25:35], truth[5:15, 45:55] = 1, 2, 3
    assert fragments(truth, truth) == 1
    pieces = np.where(truth == 3, 0, truth)                 # one missed
    pieces[5:15, 10:15] = 7                                 # one in two
    assert fragments(pieces, truth) == 1.5
    beside = pieces.copy()
    beside[0:4, 0:4] = 9                                    # false positives are no fragments
    assert fragments(beside, truth) == 1.5
    assert np.isnan(fragments(np.zeros_like(truth), truth)) and np.isnan(fragments(truth, np.zeros_like(truth)))
    joined = np.where(truth > 0, 1, 0)
    joined[9:11, 15:25] = 1                                 # two nuclei in one object, more than half in neither
    assert np.isnan(fragments(np.where(truth == 3, 0, joined) * (np.arange(60) < 36), truth))
