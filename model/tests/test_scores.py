import math

import numpy as np
import pytest
import torch

from instances import grow, objects_from_classes
from losses import segmentation_loss, soft_dice
from metrics import aji, dice, f1_at, hd95, iou


def masks(*rows):
    return [np.array([[c == "#" for c in row] for row in r.split()]) for r in rows]


def test_dice_and_iou_by_hand():
    p, t = masks("##.. ....", ".##. ....")
    assert dice(p, t) == 0.5 and iou(p, t) == 1 / 3


def test_empty_classes_never_score_one():
    some, none = masks("#.", "..")
    for score in (dice, iou):
        assert math.isnan(score(none, none))
        assert score(some, none) == score(none, some) == 0
    for score in (f1_at, aji):
        assert math.isnan(score(none.astype(int), none.astype(int)))
        assert score(some.astype(int), none.astype(int)) == score(none.astype(int), some.astype(int)) == 0
    assert math.isnan(hd95(none, none, (1, 1))) and hd95(some, none, (1, 1)) == math.inf


def test_f1_matches_objects_once():
    t = np.array([[1, 1, 1, 1, 0, 2, 2, 2]])
    assert f1_at(np.array([[5, 5, 5, 0, 0, 9, 9, 9]]), t) == 1
    assert f1_at(np.array([[5, 5, 6, 6, 0, 9, 9, 9]]), t) == 2 / 5            # IoU exactly 0.5 is no match
    assert f1_at(np.array([[5, 5, 5, 5, 5, 5, 5, 5]]), t) == 0
    with pytest.raises(ValueError, match="below 0.5"):
        f1_at(t, t, 0.3)


def test_aji_by_hand():
    t = np.array([[1, 1, 1, 1, 0, 2, 2, 0, 3]])
    p = np.array([[7, 7, 7, 0, 0, 8, 8, 8, 0]])
    assert aji(p, t) == (3 + 2) / (4 + 3 + 1)               # object 3 is missed: its area joins the denominator
    assert aji(np.array([[7, 7, 7, 0, 9, 8, 8, 8, 0]]), t) == (3 + 2) / (4 + 3 + 1 + 1)
    assert aji(t, t) == 1


def test_hd95_is_in_physical_units():
    a, b = np.zeros((20, 20), bool), np.zeros((20, 20), bool)
    a[5:10, 5:10] = True
    b[5:10, 8:13] = True
    assert hd95(a, b, (1, 1)) == 3
    assert hd95(a, b, (1, 0.5)) == 1.5
    assert hd95(a, a, (3, 2)) == 0


def test_loss_prefers_the_truth():
    classes = torch.randint(0, 3, (2, 8, 8), generator=torch.Generator().manual_seed(0))
    right = torch.nn.functional.one_hot(classes, 3).permute(0, 3, 1, 2).float() * 20
    weights = torch.tensor([1.0, 1, 2])
    assert segmentation_loss(right, classes, weights) < 0.01
    assert segmentation_loss(right.roll(1, 1), classes, weights) > 1
    assert soft_dice(torch.zeros(4), torch.zeros(4)) == 1                     # nothing asked, nothing given, nothing lost
    assert soft_dice(torch.ones(400), torch.zeros(400)) < 0.01


def test_loss_options_default_to_nothing():
    rng = torch.Generator().manual_seed(1)
    logits, classes = torch.randn(2, 3, 8, 8, generator=rng), torch.randint(0, 3, (2, 8, 8), generator=rng)
    weights = torch.tensor([1.0, 1, 2])
    assert segmentation_loss(logits, classes, weights) == segmentation_loss(logits, classes, weights, pair_share=0.0, picture_share=0.0, sharpness=3.0)


def test_pair_cross_entropy_asks_for_foreground_and_not_for_which():
    classes = torch.ones(1, 4, 4, dtype=torch.int64)
    interior, boundary = (torch.zeros(1, 3, 4, 4) for _ in range(2))
    interior[:, 1], boundary[:, 2] = 3, 3
    ask = dict(class_weights=torch.ones(3), ce_share=1.0)
    assert segmentation_loss(interior, classes, pair_share=1.0, **ask) == segmentation_loss(boundary, classes, pair_share=1.0, **ask)
    assert segmentation_loss(interior, classes, **ask) < segmentation_loss(boundary, classes, **ask)
    # -log of the foreground's probability, and a sample of weight 0 asks nothing
    found = segmentation_loss(interior, classes, pair_share=1.0, **ask)
    assert torch.allclose(found, -torch.log(1 - interior.softmax(1)[0, 0, 0, 0]))
    half = torch.ones(1, 4, 4)
    half[:, :2] = 0
    interior[:, :, :2] = -interior[:, :, :2]
    assert torch.allclose(segmentation_loss(interior, classes, sample_weights=half, pair_share=1.0, **ask), found)


def test_dice_per_picture_weighs_a_small_nucleus_as_much_as_a_large_one():
    classes = torch.zeros(2, 64, 64, dtype=torch.int64)
    classes[0, :60, :60], classes[1, :20, :20] = 1, 1
    right = torch.nn.functional.one_hot(classes, 3).permute(0, 3, 1, 2).float() * 20
    without = []
    for missed in (0, 1):
        logits = right.clone()
        logits[missed] = 0
        logits[missed, 0] = 20
        without.append([segmentation_loss(logits, classes, torch.ones(3), ce_share=0.0, picture_share=s).item() for s in (0.0, 1.0)])
    (sums_large, mean_large), (sums_small, mean_small) = without
    assert sums_large > 2 * sums_small                          # sums over the batch: the small one hardly counts
    # of two pictures one is lost; the 100 samples that smooth it keep an empty crop from being all or nothing
    assert mean_large == pytest.approx((1 - 100 / 3700) / 2) and mean_small == pytest.approx((1 - 100 / 500) / 2)


def test_sharpness_brings_the_soft_dice_near_the_argmax():
    classes = torch.ones(1, 32, 32, dtype=torch.int64)
    split = torch.log(torch.tensor([0.36, 0.32, 0.32])).view(1, 3, 1, 1).expand(1, 3, 32, 32)      # foreground 0.64, argmax background
    soft, sharp = (segmentation_loss(split, classes, torch.ones(3), ce_share=0.0, picture_share=1.0, sharpness=s) for s in (1.0, 30.0))
    assert sharp > 0.7 > 0.3 > soft


def test_objects_from_classes():
    classes = np.array([[int(c) for c in row] for row in ("0222220", "0211220", "0222120", "0000020", "2200000", "2102222", "2202112")], np.uint8)
    got = objects_from_classes(classes, min_area=2)
    # the lone interior samples at (2,4) and (5,1) are under minArea: gone, and their rim stays free
    assert got[2, 4] == 0 and got[5, 1] == 0
    assert set(np.unique(got)) == {0, 1, 2}
    assert (got[0, 1:6] == 1).all() and got[6, 3] == got[5, 4] == 2
    assert (got[classes == 0] == 0).all()


def test_growth_meets_in_the_middle_whatever_the_numbers():
    into = np.ones((1, 7), bool)
    a = grow(np.array([[1, 0, 0, 0, 0, 0, 2]]), into)
    b = grow(np.array([[2, 0, 0, 0, 0, 0, 1]]), into)
    assert a.tolist() == [[1, 1, 1, 1, 2, 2, 2]]
    assert b.tolist() == [[2, 2, 2, 2, 1, 1, 1]]
