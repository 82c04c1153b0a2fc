import pytest
import torch

from swin_unet import SwinUnet, SwinUnetConfig, load_weights, map_from_windows, relative_index, shift_mask, shift_regions, windows_from_map

TINY = dict(width=24, heads=(1, 2, 4, 8), drop_path=0.0)


def test_parameter_counts_of_the_paper():
    assert SwinUnet(SwinUnetConfig(width=96)).parameter_count() == 27_168_324          # 27.17 M
    assert SwinUnet(SwinUnetConfig(width=48)).parameter_count() == 6_826_164           # 6.83 M


@pytest.mark.parametrize("config", [TINY, TINY | dict(stem="conv"), TINY | dict(stem="conv", detail=8, detail_layers=2, head_width=8, position_kernel=3), TINY | dict(skips=0),
                                    TINY | dict(skips=1, classes=5, in_channels=1), TINY | dict(depths=(1, 1, 1, 1), drop_path=0.5)])
def test_one_logit_per_class_and_pixel_and_every_parameter_learns(config):
    torch.manual_seed(0)
    model = SwinUnet(SwinUnetConfig(**config))
    logits = model(torch.randn(2, model.cfg.in_channels, 224, 224))
    assert logits.shape == (2, model.cfg.classes, 224, 224)
    logits.square().mean().backward()
    if config.get("drop_path"):
        return                                             # a dropped path has no gradient
    assert [n for n, p in model.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize("config", [TINY, TINY | dict(stem="conv", detail=8, head_width=8)])
@pytest.mark.parametrize("bands", [2, 7, 56])
def test_bands_change_no_bit(config, bands):
    torch.manual_seed(0)
    model = SwinUnet(SwinUnetConfig(**config)).eval()
    x = torch.randn(1, 3, 224, 224)
    with torch.inference_mode():
        whole = model(x)
        model.bands = bands
        assert torch.equal(model(x), whole)


def test_bands_that_do_not_divide_say_so():
    model = SwinUnet(SwinUnetConfig(**TINY))
    model.bands = 5
    with pytest.raises(ValueError, match="56 token rows do not divide into 5 bands"):
        model(torch.zeros(1, 3, 224, 224))


def test_windows_round_trip_and_hold_neighbours():
    x = torch.arange(2 * 14 * 14 * 3, dtype=torch.float32).view(2, 14, 14, 3)
    w = windows_from_map(x, 7, 14, 3)
    assert w.shape == (8, 49, 3)
    assert torch.equal(w[1].view(7, 7, 3), x[0, :7, 7:])
    assert torch.equal(map_from_windows(w, 7, 14, 3), x)


def test_relative_index_depends_on_the_offset_only():
    index = relative_index(7).view(7, 7, 7, 7)
    assert index.min() == 0 and index.max() == 168
    assert index[2, 3, 4, 5] == index[0, 0, 2, 2]
    assert index[2, 3, 4, 5] != index[4, 5, 2, 3]


def test_shift_mask_parts_only_what_the_roll_joined():
    mask = shift_mask(shift_regions(14, 7, 3))
    assert mask.shape == (4, 49, 49)
    assert mask[0].abs().max() == 0                        # the first window never wraps
    assert (mask[3] == -100).any() and (mask == mask.transpose(1, 2)).all()


def test_wrong_checkpoints_are_told_apart():
    model = SwinUnet(SwinUnetConfig(**TINY))
    state = model.state_dict()
    assert load_weights(dict(TINY), state).parameter_count() == model.parameter_count()
    with pytest.raises(ValueError, match="of another shape"):
        load_weights(TINY | dict(width=48), state)
    with pytest.raises(ValueError, match="tensors missing"):
        load_weights(TINY | dict(stem="conv", detail=8), state)
    with pytest.raises(ValueError, match=r"unknown entries \['colour'\]"):
        load_weights(TINY | dict(colour=1), state)


def test_configs_that_cannot_work_say_why():
    with pytest.raises(ValueError, match="image_size 256 is not a multiple of 224"):
        SwinUnetConfig(image_size=256)
    with pytest.raises(ValueError, match="needs stem"):
        SwinUnetConfig(detail=16)
    with pytest.raises(AssertionError, match="takes 224 x 224"):
        SwinUnet(SwinUnetConfig(**TINY))(torch.zeros(1, 3, 112, 112))
