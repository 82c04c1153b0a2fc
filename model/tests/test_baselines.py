import pytest
import torch
import torch.nn as nn

pytest.importorskip("monai", reason="the baselines are MONAI's networks")

from baselines import NAMES, TransUNet, build, count_macs
from swin_unet import SwinUnet, SwinUnetConfig


@pytest.mark.parametrize("name", NAMES)
def test_sizes_are_near_the_swin_unets(name):
    model = build(name, 3, 3, 128)
    assert sum(p.numel() for p in model.parameters()) == pytest.approx(6.83e6, rel=0.03)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("in_channels, classes, size", [(3, 3, 128), (1, 2, 224)])
def test_one_logit_per_class_and_pixel_and_every_parameter_learns(name, in_channels, classes, size):
    torch.manual_seed(0)
    model = build(name, in_channels, classes, size)
    logits = model(torch.randn(1, in_channels, size, size))
    assert logits.shape == (1, classes, size, size)
    logits.square().mean().backward()
    assert [n for n, p in model.named_parameters() if p.grad is None] == []


def test_a_token_reaches_all_others_and_knows_its_place():
    torch.manual_seed(0)
    model = TransUNet(1, 2, 64, widths=(8, 8, 8, 8, 16), layers=1, heads=2).eval()
    seen = []
    model.transformer.register_forward_hook(lambda m, args, out: seen.append((args[0], out)))
    with torch.no_grad():
        model(torch.full((1, 1, 64, 64), 0.5))
        model.position[0, 3] += torch.randn(16)
        model(torch.full((1, 1, 64, 64), 0.5))
    (tokens, before), (_, after) = seen[0], seen[1]
    assert tokens.shape == before.shape == (1, 16, 16)         # a 4 x 4 map of tokens
    assert len(before[0].unique(dim=0)) == 16                  # a flat picture: only their places tell the tokens apart
    assert ((before - after).abs().amax(-1) > 0).all()


def test_macs_by_hand():
    net = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ConvTranspose2d(8, 4, 2, 2))
    assert count_macs(net, (1, 3, 16, 16)) == 8 * 8 * 8 * 3 * 9 + 8 * 8 * 8 * 4 * 4
    assert count_macs(nn.Linear(10, 20), (5, 10)) == 5 * 10 * 20
    d, T = 16, 9
    layer = nn.TransformerEncoderLayer(d, 2, 32, batch_first=True)
    assert count_macs(layer, (1, T, d)) == T * d * 4 * d + 2 * T * T * d + 2 * T * d * 32


def test_macs_of_the_paper_and_of_a_pruned_network():
    whole = SwinUnet(SwinUnetConfig(width=48))
    assert count_macs(whole, (1, 3, 224, 224)) / 1e9 == pytest.approx(1.60, abs=0.02)
    halved = SwinUnet(SwinUnetConfig(width=48, hidden=[96 << i for i in whole.cfg.block_stages()]))
    saved = sum((56 >> i) ** 2 * 2 * (48 << i) * (96 << i) for i in whole.cfg.block_stages())
    assert count_macs(whole, (1, 3, 224, 224)) - count_macs(halved, (1, 3, 224, 224)) == saved


def test_wrong_requests_say_what_was_expected():
    with pytest.raises(ValueError, match='baseline is "vnet"'):
        build("vnet", 3, 3, 128)
    with pytest.raises(ValueError, match="image_size 100 is not a multiple of 16"):
        build("unet", 3, 3, 100)
