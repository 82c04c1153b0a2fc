"""Networks to compare with, near the 6.8 M parameters of the width-48 Swin-Unet: pixels [N, in, S, S] -> logits [N, classes, S, S].

    build("unet", 3, 3, 224)
    build("unet", 3, 3, 224, scale=0.5)        # half the channels everywhere, as a Swin-Unet of width 24 has them

"unet"       MONAI's BasicUNet (Ronneberger et al., arXiv 1505.04597; Falk et al. 2019), four halvings, 30 to 480 channels
"attention"  MONAI's AttentionUnet (Oktay et al., arXiv 1804.03999), likewise
"transunet"  after Chen et al., arXiv 2102.04306: MONAI's U-Net stages down to S/16, a transformer over those tokens with learned
             positions, U-Net stages up. It is smaller than theirs (a ResNet-50 and a 12-layer ViT, over 100 M) and nothing is pretrained.

The transformer is torch's. MONAI's ViT is not used: it takes its tokens from pixels, and needs einops on top.
"""
from __future__ import annotations

import torch
import torch.nn as nn
from monai.networks.nets import AttentionUnet, BasicUNet
from monai.networks.nets.basic_unet import Down, TwoConv, UpCat
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

NAMES = ("unet", "attention", "transunet")


class TransUNet(nn.Module):
    def __init__(self, in_channels, classes, image_size, widths=(32, 48, 96, 192, 256), layers=4, heads=8):
        super().__init__()
        act, norm = "gelu", ("instance", {"affine": True})
        d, tokens = widths[-1], (image_size // 16) ** 2
        self.enter = TwoConv(2, in_channels, widths[0], act, norm, bias=False)
        self.down = nn.ModuleList([Down(2, a, b, act, norm, bias=False) for a, b in zip(widths, widths[1:])])
        self.position = nn.Parameter(torch.zeros(1, tokens, d))
        nn.init.trunc_normal_(self.position, std=0.02)
        layer = nn.TransformerEncoderLayer(d, heads, 4 * d, dropout=0.0, activation="gelu", batch_first=True, norm_first=True)
        self.transformer = nn.TransformerEncoder(layer, layers, norm=nn.LayerNorm(d), enable_nested_tensor=False)
        self.up = nn.ModuleList([UpCat(2, a, b, b, act, norm, bias=False, halves=False)
                                 for a, b in zip(widths[:0:-1], widths[-2::-1])])
        self.classify = nn.Conv2d(widths[0], classes, 1)

    def forward(self, pixels):
        maps = [self.enter(pixels)]                                        # (N, 32, S, S)
        for down in self.down:
            maps.append(down(maps[-1]))                                    # ... (N, d, S/16, S/16)
        x = maps.pop()
        tokens = self.transformer(x.flatten(2).transpose(1, 2) + self.position)    # (N, T, d)
        x = tokens.transpose(1, 2).reshape(x.shape)
        for up in self.up:
            x = up(x, maps.pop())
        return self.classify(x)


def build(name, in_channels, classes, image_size, scale=1.0):
    if image_size % 16:
        raise ValueError(f"image_size {image_size} is not a multiple of 16, which four halvings need")

    def scaled(*widths):
        return tuple(round(w * scale) for w in widths)
    if name == "unet":
        return BasicUNet(2, in_channels, classes, scaled(30, 60, 120, 240, 480, 30))
    if name == "attention":
        widths = scaled(30, 60, 120, 240, 480)
        return AttentionUnet(2, in_channels, classes, widths, (2,) * (len(widths) - 1))
    if name == "transunet":
        return TransUNet(in_channels, classes, image_size, scaled(32, 48, 96, 192, 256))
    raise ValueError(f'baseline is "{name}"; expected one of {NAMES}')


def count_macs(model, shape):
    """Multiply-accumulates of one forward pass over zeros of this shape: matrix products, attention, convolutions (torch's own counter,
    which counts two operations for each). Norms, activations and interpolation are not in it."""
    training = model.training
    model.eval()
    p = next(model.parameters())
    # neither no_grad nor the CPU's flash attention: the counter cannot see into the fused paths torch would take
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        model(torch.zeros(shape, device=p.device, dtype=p.dtype))
    model.train(training)
    return counter.get_total_flops() // 2
