from dataclasses import asdict

import pytest
import torch
import torch.nn.functional as F

from export_onnx import export
from swin_unet import (SwinUnet, SwinUnetConfig, load_weights, map_from_windows, relative_index, shift_mask, shift_regions, up_layer,
                       upsample, windows_from_map)

TINY = dict(width=24, heads=(1, 2, 4, 8), drop_path=0.0)
SMALL = TINY | dict(image_size=64, attention_window=2)
PRUNED = dict(hidden=(16, 32, 48, 64, 80, 96, 112, 128, 144, 160, 176, 192, 208, 224),
              kept_heads=(1, 1, 1, 2, 3, 4, 5, 8, 4, 1, 2, 1, 1, 1))
ROWS = [dict(up="bilinear"), dict(up="transposed"), dict(up="overlapped"), dict(shift=False), dict(block="bottleneck", position_kernel=3),
        PRUNED, dict(up="bilinear", stem="conv", detail=8, detail_layers=1, head_width=8),
        dict(stem="conv", detail=8, detail_layers=2, detail_width=8, detail_levels=(12, 16), head_width=8)]


def test_parameter_counts_of_the_paper():
    assert SwinUnet(SwinUnetConfig(width=96)).parameter_count() == 27_168_324          # 27.17 M
    assert SwinUnet(SwinUnetConfig(width=48)).parameter_count() == 6_826_164           # 6.83 M


@pytest.mark.parametrize("config", [TINY, TINY | dict(stem="conv"),
                                    TINY | dict(stem="conv", detail=8, detail_layers=2, head_width=8, position_kernel=3),
                                    TINY | dict(skips=0), TINY | dict(skips=1, classes=5, in_channels=1),
                                    TINY | dict(depths=(1, 1, 1, 1), drop_path=0.5),
                                    *[SMALL | row for row in ROWS], SMALL | dict(block="bottleneck", drop_path=0.5)])
def test_one_logit_per_class_and_pixel_and_every_parameter_learns(config):
    torch.manual_seed(0)
    model = SwinUnet(SwinUnetConfig(**config))
    S = model.cfg.image_size
    logits = model(torch.randn(2, model.cfg.in_channels, S, S))
    assert logits.shape == (2, model.cfg.classes, S, S)
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


@pytest.mark.parametrize("row", ROWS)
def test_every_row_exports_in_bands_and_agrees(row, tmp_path):
    torch.manual_seed(0)
    model = SwinUnet(SwinUnetConfig(**SMALL | row)).eval()
    x = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        whole = model(x)
        model.bands = 4
        assert torch.allclose(model(x), whole, atol=1e-5)
    assert export(model, tmp_path / "row.onnx", bands=4) < 1e-4


def test_a_transposed_convolution_whose_kernel_is_its_stride_is_patch_expanding():
    linear, conv = up_layer("expand", 8, 4, 2), up_layer("transposed", 8, 4, 2)
    with torch.no_grad():
        conv.weight.copy_(linear.weight.view(2, 2, 4, 8).permute(3, 2, 0, 1))
    x = torch.randn(2, 5, 6, 8)
    got = [upsample(up, layer, x, 2, 5, 6, 4) for up, layer in (("expand", linear), ("transposed", conv))]
    assert got[0].shape == (2, 10, 12, 4) and torch.allclose(*got, atol=1e-5)


def test_bilinear_commutes_with_its_linear():
    layer, x = up_layer("bilinear", 8, 4, 2), torch.randn(2, 5, 6, 8)
    late = layer(F.interpolate(x.permute(0, 3, 1, 2), scale_factor=2, mode="bilinear").permute(0, 2, 3, 1))
    assert torch.allclose(upsample("bilinear", layer, x, 2, 5, 6, 4), late, atol=1e-5)


@pytest.mark.parametrize("up", ["bilinear", "overlapped"])
def test_the_heads_halo_is_what_lies_past_the_maps_edge(up):
    torch.manual_seed(0)
    head = SwinUnet(SwinUnetConfig(**SMALL, up=up)).head
    x = torch.randn(1, 16, 16, 24)
    with torch.no_grad():
        whole = head.classify(head.norm(upsample(up, head.expand, x, 4, 16, 16, 24))).permute(0, 3, 1, 2)
        for bands in (1, 4):
            assert torch.allclose(head(x, None, bands), whole, atol=1e-5)


@pytest.mark.parametrize("shift", [True, False])
def test_only_a_shift_lets_neighbouring_windows_meet(shift):
    torch.manual_seed(0)
    block = SwinUnet(SwinUnetConfig(**SMALL, shift=shift)).encoder[0][1]
    x = torch.randn(1, 16, 16, 24)
    y = x.clone()
    y[0, 4, 4] = torch.randn(24)                           # in the plain window of rows and columns 4 and 5
    with torch.no_grad():
        moved = (block(y) - block(x)).abs().amax(-1)[0] > 1e-7
    rows = moved.any(1).nonzero().flatten().tolist()
    assert rows == ([3, 4] if shift else [4, 5])


def test_a_pruned_config_round_trips_and_has_the_widths_it_says():
    model = SwinUnet(SwinUnetConfig(**SMALL | PRUNED))
    assert [b.fc1.out_features for _, b in model.blocks()] == list(PRUNED["hidden"])
    assert [b.attn.bias_table.shape[1] for _, b in model.blocks()] == list(PRUNED["kept_heads"])
    assert model.encoder[2][1].attn.proj.weight.shape == (96, 4 * 24) and model.decoder[0][0].attn.qkv.weight.shape == (3 * 96, 96)
    saved = {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(model.cfg).items()}
    again = load_weights(saved, model.state_dict())
    assert again.cfg == model.cfg
    full = SwinUnet(SwinUnetConfig(**SMALL))
    assert full.cfg.block_heads() == [b.attn.heads for _, b in full.blocks()]
    assert [n for n, _ in full.blocks()][7:9] == ["encoder.3.1", "decoder.0.0"]


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
    with pytest.raises(ValueError, match='up is "nearest"'):
        SwinUnetConfig(up="nearest")
    with pytest.raises(ValueError, match='block is "conv"'):
        SwinUnetConfig(block="conv")
    with pytest.raises(ValueError, match="hidden has 2 entries, the network 14 blocks"):
        SwinUnetConfig(hidden=(96, 96))
    with pytest.raises(ValueError, match=r"kept_heads\[1\] is 0; block 1 takes 1 to 3"):
        SwinUnetConfig(kept_heads=(1, 0) + (1,) * 12)
    with pytest.raises(ValueError, match=r"kept_heads\[2\] is 7; block 2 takes 1 to 6"):
        SwinUnetConfig(kept_heads=(1, 1, 7) + (1,) * 11)
    with pytest.raises(ValueError, match="hidden needs block"):
        SwinUnetConfig(block="bottleneck", hidden=(16,) * 14)
    with pytest.raises(AssertionError, match="takes 224 x 224"):
        SwinUnet(SwinUnetConfig(**TINY))(torch.zeros(1, 3, 112, 112))
