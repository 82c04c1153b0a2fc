"""Swin-Unet in one file (Cao et al., arXiv 2105.05537), written from the paper.

Shapes in comments: N batch, H W pixels, h w tokens per side, C channels at that stage, nW windows per
image, M attention-window side (7), T = M*M tokens per window, nH heads, hd channels per head.

With `stem="patch"`, `detail=0` and `position_kernel=0` (the defaults) the network is the paper's: 27.17 M parameters at width 96, 6.83 M at
width 48. Three named deviations are off by default:

* `stem="conv"`: the 4x4/4 patch embedding becomes four 3x3 convolutions that end at the same /4 grid
  (Xiao et al., "Early Convolutions Help Transformers See Better", arXiv 2106.14881). It trains much
  faster from scratch.
* `detail=k`: the k full-resolution channels of that stem skip the whole U and meet the x4-expanded
  tokens just before the classifier. A patch is 4 pixels wide and a touching-nuclei line is 2: without it
  that line has to be re-invented from a 4x4 token. `detail_layers=n` sends those channels also through n 3x3 convolutions at half
  resolution, dilated 1, 2, 4, ..., so that what skips has seen a whole nucleus (35 samples with three) and not only an edge.
  `detail_levels=(48, 96, 128)` hangs a small convolutional U-Net below them, with so many channels at 1/4, 1/8 and 1/16: convolutions
  learn tissue in far fewer steps than attention windows do (model/README.md has the curves). Zero at the start of training.
* `position_kernel=k`: each block starts with a residual k x k depthwise convolution over its token map (the conditional
  position encoding of Chu et al., arXiv 2102.10882), zero at the start of training. It sees across attention windows, which the
  paper's shift does only in every other block; on few steps and few pictures the windows' edges otherwise show in the masks.

Rows of an ablation, each off by default: `up` (how the decoder doubles its map), `shift=False` (plain windows in every block),
`block="bottleneck"` (convolutions in place of attention and MLP), `skips`. A structurally pruned network says what is left of each
block in `hidden` and `kept_heads` (structured_pruning.py writes them), so that a checkpoint and its config rebuild it.
"""
from __future__ import annotations

from dataclasses import asdict, dataclass, fields

import torch
import torch.nn as nn
import torch.nn.functional as F


@dataclass(frozen=True)
class SwinUnetConfig:
    image_size: int = 224
    in_channels: int = 3
    classes: int = 3
    width: int = 96                       # C
    depths: tuple = (2, 2, 2, 2)          # encoder; the last entry is the bottleneck. Decoder mirrors the first three
    heads: tuple = (3, 6, 12, 24)
    attention_window: int = 7             # M
    mlp_ratio: int = 4
    drop_path: float = 0.2
    skips: int = 3                        # 3 = all; fewer drops the finest ones first (the paper's ablation)
    stem: str = "patch"                   # "patch" (paper) or "conv"
    detail: int = 0                       # full-resolution skip channels; needs stem="conv"
    detail_layers: int = 0                # half-resolution convolutions on the way of the detail channels
    detail_width: int = 32                # their channels
    detail_levels: tuple = ()             # channels of the U-Net below those convolutions, a halving each; needs detail_layers
    position_kernel: int = 0              # depthwise convolution at the head of each block; odd, 0 = none (paper)
    head_width: int = 0                   # channels after the final x4 expand; 0 = width (paper)
    up: str = "expand"                    # "expand" (paper), "bilinear", "transposed" (kernel = stride), "overlapped" (kernel = 2 strides)
    shift: bool = True                    # False: no block shifts its windows
    block: str = "swin"                   # or "bottleneck"
    hidden: tuple | None = None           # MLP units left, per block: encoder stages 0..3, then decoder 0..2 in running order
    kept_heads: tuple | None = None       # attention heads left, likewise; a head stays width // heads channels wide

    def __post_init__(self):
        # JSON and checkpoints hand lists back
        object.__setattr__(self, "depths", tuple(self.depths))
        object.__setattr__(self, "heads", tuple(self.heads))
        if self.stem not in ("patch", "conv"):
            raise ValueError(f'stem is "{self.stem}"; expected "patch" or "conv"')
        if self.detail and self.stem != "conv":
            raise ValueError(f"detail={self.detail} needs stem=\"conv\": the full-resolution channels come from that stem")
        if self.detail_layers and not self.detail:
            raise ValueError(f"detail_layers={self.detail_layers} needs detail > 0")
        object.__setattr__(self, "detail_levels", tuple(self.detail_levels))
        if self.detail_levels and not self.detail_layers:
            raise ValueError(f"detail_levels={list(self.detail_levels)} needs detail_layers > 0")
        if any(width < 1 for width in self.detail_levels) or len(self.detail_levels) > 4:
            raise ValueError(f"detail_levels is {list(self.detail_levels)}; it takes up to 4 widths of 1 or more")
        if self.detail_width < 1:
            raise ValueError(f"detail_width is {self.detail_width}; it takes 1 or more")
        if len(self.depths) != 4 or len(self.heads) != 4:
            raise ValueError(f"depths and heads need 4 stages, got {len(self.depths)} and {len(self.heads)}")
        if self.up not in HALO:
            raise ValueError(f'up is "{self.up}"; expected one of {sorted(HALO)}')
        if self.block not in ("swin", "bottleneck"):
            raise ValueError(f'block is "{self.block}"; expected "swin" or "bottleneck"')
        for name, most in (("hidden", None), ("kept_heads", self.block_heads())):
            self.check_pruned(name, most)
        coarsest = 4 * 2 ** 3 * self.attention_window
        if self.image_size % coarsest:
            raise ValueError(f"image_size {self.image_size} is not a multiple of {coarsest} "
                             f"(patch 4, three mergings, attention window {self.attention_window})")

    def block_stages(self):
        """The stage (0 finest) of each block, in running order: encoder, then decoder."""
        return [i for i in (0, 1, 2, 3, 2, 1, 0) for _ in range(self.depths[i])]

    def block_heads(self):
        return [self.heads[i] for i in self.block_stages()]

    def check_pruned(self, name, most):
        value = getattr(self, name)
        if value is None:
            return
        value = tuple(value)
        object.__setattr__(self, name, value)
        if self.block != "swin":
            raise ValueError(f'{name} needs block="swin": a bottleneck has neither heads nor an MLP')
        if len(value) != len(self.block_stages()):
            raise ValueError(f"{name} has {len(value)} entries, the network {len(self.block_stages())} blocks")
        wrong = [i for i, v in enumerate(value) if v < 1 or (most and v > most[i])]
        if wrong:
            i = wrong[0]
            raise ValueError(f"{name}[{i}] is {value[i]}; block {i} takes 1" + (f" to {most[i]}" if most else " or more"))


# Sides and widths are handed down as plain numbers and only N is -1: a traced graph then has no Shape or Gather nodes.

def windows_from_map(x, M, side, C):
    x = x.reshape(-1, side // M, M, side // M, M, C)             # (N, h/M, M, w/M, M, C)
    return x.permute(0, 1, 3, 2, 4, 5).reshape(-1, M * M, C)     # (N*nW, T, C)


def map_from_windows(x, M, side, C):
    x = x.view(-1, side // M, side // M, M, M, C)                # (N, h/M, w/M, M, M, C)
    return x.permute(0, 1, 3, 2, 4, 5).reshape(-1, side, side, C)    # (N, h, w, C)


def unfold_tokens(x, s, h, w, C):
    """(N, h, w, s*s*C) -> (N, s*h, s*w, C): each token becomes an s x s block of pixels."""
    x = x.view(-1, h, w, s, s, C).permute(0, 1, 3, 2, 4, 5)      # (N, h, s, w, s, C)
    return x.reshape(-1, h * s, w * s, C)


def relative_index(M):
    """Row of the bias table for each (query, key) pair of an M x M window: (T, T) in [0, (2M-1)^2)."""
    y, x = torch.meshgrid(torch.arange(M), torch.arange(M), indexing="ij")
    y, x = y.flatten(), x.flatten()
    dy = y[:, None] - y[None, :] + M - 1
    dx = x[:, None] - x[None, :] + M - 1
    return dy * (2 * M - 1) + dx


def shift_regions(side, M, shift):
    """The region of the map, 0 to 8, that each token of a rolled window came from: (nW, T)."""
    region = torch.zeros(1, side, side, 1)
    cuts = (slice(0, -M), slice(-M, -shift), slice(-shift, None))
    for i, ys in enumerate(cuts):
        for j, xs in enumerate(cuts):
            region[:, ys, xs] = i * 3 + j
    return windows_from_map(region, M, side, 1).squeeze(-1)


def shift_mask(region):
    """-100 where a rolled window mixes tokens that were not neighbours before the roll: (nW, T) -> (nW, T, T)."""
    different = region[:, None, :] != region[:, :, None]
    return different.float() * -100.0


class WindowAttention(nn.Module):
    """Softmax attention inside a window with a learned bias per offset. Of `heads` heads of C // heads channels `kept` are there."""
    def __init__(self, C, heads, M, kept):
        super().__init__()
        hd = C // heads
        self.inner, self.T, self.heads, self.scale = kept * hd, M * M, kept, hd ** -0.5
        self.qkv = nn.Linear(C, 3 * self.inner)
        self.proj = nn.Linear(self.inner, C)
        self.bias_table = nn.Parameter(torch.zeros((2 * M - 1) ** 2, kept))
        nn.init.trunc_normal_(self.bias_table, std=0.02)
        self.register_buffer("bias_index", relative_index(M), persistent=False)

    def forward(self, x, mask):
        inner, T = self.inner, self.T                                                       # x (B, T, C), B = N*nW
        q, k, v = self.qkv(x).split(inner, -1)                                              # each (B, T, nH*hd)
        q, k, v = (t.reshape(-1, T, self.heads, inner // self.heads).transpose(1, 2) for t in (q, k, v))    # (B, nH, T, hd)
        bias = self.bias_table[self.bias_index.view(-1)].view(T, T, -1).permute(2, 0, 1)    # (nH, T, T)
        a = (q * self.scale) @ k.transpose(-2, -1) + bias                                   # (B, nH, T, T)
        if mask is not None:
            a = a.view(-1, mask.shape[0], self.heads, T, T) + mask[:, None]                            # (N, nW, nH, T, T)
            a = a.view(-1, self.heads, T, T)
        a = a.softmax(-1)
        x = (a.to(v.dtype) @ v).transpose(1, 2).reshape(-1, T, inner)                       # (B, T, nH*hd)
        return self.proj(x)                                                                 # (B, T, C)


class Residual(nn.Module):
    """What both kinds of block share: the optional position convolution at the head, and stochastic depth."""
    def __init__(self, C, cfg, drop_path):
        super().__init__()
        self.drop_path = drop_path
        k = cfg.position_kernel
        self.position = nn.Conv2d(C, C, k, 1, k // 2, groups=C) if k else None

    def keep(self, y):
        # stochastic depth (Huang et al. 2016), one draw per sample, rescaled so the mean stays
        if not self.training or self.drop_path == 0:
            return y
        keep = 1 - self.drop_path
        draw = (torch.rand(y.shape[0], 1, 1, 1, device=y.device) < keep).to(y.dtype)
        return y * draw / keep

    def place(self, x):
        if self.position is None:
            return x
        return x + self.position(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


class Block(Residual):
    def __init__(self, C, heads, side, cfg, shift, drop_path, hidden, kept):
        super().__init__(C, cfg, drop_path)
        self.M = cfg.attention_window
        self.side, self.C = side, C
        self.shift = shift if side > self.M else 0     # one window covers the map: nothing to shift
        self.norm1 = nn.LayerNorm(C)
        self.attn = WindowAttention(C, heads, self.M, kept)
        self.norm2 = nn.LayerNorm(C)
        self.fc1 = nn.Linear(C, hidden)
        self.fc2 = nn.Linear(hidden, C)
        region = shift_regions(side, self.M, self.shift) if self.shift else None
        self.register_buffer("region", region, persistent=False)
        self.register_buffer("mask", shift_mask(region) if self.shift else None, persistent=False)

    def forward(self, x):
        x = self.place(x)
        y = self.norm1(x)                                          # (N, h, w, C)
        if self.shift:
            y = torch.roll(y, (-self.shift, -self.shift), (1, 2))
        y = self.attn(windows_from_map(y, self.M, self.side, self.C), self.mask)    # (N*nW, T, C)
        y = map_from_windows(y, self.M, self.side, self.C)         # (N, h, w, C)
        if self.shift:
            y = torch.roll(y, (self.shift, self.shift), (1, 2))
        x = x + self.keep(y)
        return x + self.keep(self.fc2(F.gelu(self.fc1(self.norm2(x)))))


class Bottleneck(nn.Module):
    """1x1 to half the channels, 3x3, 1x1 back (He et al., arXiv 1512.03385), after a norm as the transformer's halves have it."""
    def __init__(self, C):
        super().__init__()
        self.norm = nn.LayerNorm(C)
        self.narrow = nn.Linear(C, C // 2)
        self.conv = nn.Conv2d(C // 2, C // 2, 3, 1, 1)
        self.widen = nn.Linear(C // 2, C)

    def forward(self, x):
        y = F.gelu(self.narrow(self.norm(x))).permute(0, 3, 1, 2)          # (N, C/2, h, w)
        return self.widen(F.gelu(self.conv(y)).permute(0, 2, 3, 1))        # (N, h, w, C)


class BottleneckBlock(Residual):
    """A bottleneck where attention stood and another where the MLP stood: 6.5 C^2 weights, of a Swin block's 12 C^2."""
    def __init__(self, C, cfg, drop_path):
        super().__init__(C, cfg, drop_path)
        self.first, self.second = Bottleneck(C), Bottleneck(C)

    def forward(self, x):
        x = self.place(x)
        x = x + self.keep(self.first(x))
        return x + self.keep(self.second(x))


class PatchMerging(nn.Module):
    def __init__(self, C, side):
        super().__init__()
        self.C, self.half = C, side // 2
        self.norm = nn.LayerNorm(4 * C)
        self.reduce = nn.Linear(4 * C, 2 * C, bias=False)

    def forward(self, x):
        half, C = self.half, self.C
        x = x.view(-1, half, 2, half, 2, C)
        x = x.permute(0, 1, 3, 4, 2, 5).reshape(-1, half, half, 4 * C)      # column-major in the 2x2, as Swin has it
        return self.reduce(self.norm(x))                                    # (N, h/2, w/2, 2C)


# Upsampling by s from C to K channels. HALO: the token rows beyond its own, above and below, that a band of rows depends on.
HALO = {"expand": 0, "bilinear": 1, "transposed": 0, "overlapped": 1}


def up_layer(up, C, K, s):
    """The weights of an upsampling.

    "expand"      patch expanding: a linear to s*s*K, each token then an s x s block of pixels
    "bilinear"    a linear to K, then bilinear interpolation. The two commute; this way round the linear sees s*s times fewer tokens
    "transposed"  a transposed convolution whose kernel is its stride: as a function it is patch expanding exactly (a test says so). What
                  differs is its random start, and that it is a convolution to the compressors, which leave those alone
    "overlapped"  a transposed convolution with a kernel of two strides: a pixel sees 2 x 2 tokens, for 4 times the weights of expanding
    """
    if up == "expand":
        return nn.Linear(C, s * s * K, bias=False)
    if up == "bilinear":
        return nn.Linear(C, K, bias=False)
    kernel = s if up == "transposed" else 2 * s
    return nn.ConvTranspose2d(C, K, kernel, s, (kernel - s) // 2, bias=False)


def upsample(up, layer, x, s, rows, side, K):
    """(N, rows, side, C) -> (N, s*rows, s*side, K)"""
    if up == "expand":
        return unfold_tokens(layer(x), s, rows, side, K)
    if up == "bilinear":
        y = F.interpolate(layer(x).permute(0, 3, 1, 2), scale_factor=(s, s), mode="bilinear", align_corners=False)
    else:
        y = layer(x.permute(0, 3, 1, 2))                       # (N, K, s*rows, s*side)
    return y.permute(0, 2, 3, 1)


class PatchExpand(nn.Module):
    def __init__(self, C, side, up):
        super().__init__()
        self.C, self.side, self.up = C, side, up
        self.expand = up_layer(up, C, C // 2, 2)
        self.norm = nn.LayerNorm(C // 2)

    def forward(self, x):
        return self.norm(upsample(self.up, self.expand, x, 2, self.side, self.side, self.C // 2))   # (N, 2h, 2w, C/2)


class PatchStem(nn.Module):
    """The paper's patch embedding: one 4x4 convolution of stride 4, then LN."""
    def __init__(self, cfg):
        super().__init__()
        self.conv = nn.Conv2d(cfg.in_channels, cfg.width, 4, 4)
        self.norm = nn.LayerNorm(cfg.width)

    def forward(self, pixels):
        return self.norm(self.conv(pixels).permute(0, 2, 3, 1)), None      # (N, H/4, W/4, C)


class DetailLevel(nn.Module):
    """One halving of the detail path, all that lies below it, and the way back up: (N, K, h, w) -> the same shape."""
    def __init__(self, K, widths):
        super().__init__()
        inner, below = widths[0], widths[1:]
        self.down = nn.Conv2d(K, inner, 3, 2, 1)
        self.before = nn.Conv2d(inner, inner, 3, 1, 1)
        self.below = DetailLevel(inner, below) if below else None
        self.up = nn.Conv2d(inner, 4 * K, 1)                               # to 2x2 samples each
        self.after = nn.Conv2d(K, K, 3, 1, 1)

    def forward(self, x):
        y = F.relu(self.down(x))                                           # (N, inner, h/2, w/2)
        y = F.relu(y + self.before(y))
        if self.below is not None:
            y = self.below(y)
        x = x + F.pixel_shuffle(self.up(y), 2)                             # (N, K, h, w)
        return F.relu(x + self.after(x))

    def initialize(self):
        """Starts as if it were not there: x is not negative."""
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                nn.init.zeros_(layer.bias)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.after.weight)


class ConvStem(nn.Module):
    """3x3 convolutions: two at full resolution, then /2 and /4. Also returns the full-resolution channels."""
    def __init__(self, cfg):
        super().__init__()
        k = cfg.detail or 16
        self.conv1 = nn.Conv2d(cfg.in_channels, k, 3, 1, 1)
        self.conv2 = nn.Conv2d(k, k, 3, 1, 1)
        self.conv3 = nn.Conv2d(k, cfg.width // 2, 3, 2, 1)
        self.conv4 = nn.Conv2d(cfg.width // 2, cfg.width, 3, 2, 1)
        self.norm = nn.LayerNorm(cfg.width)
        K = cfg.detail_width
        self.layers = nn.ModuleList([nn.Conv2d(cfg.width // 2 if i == 0 else K, K, 3, 1, 2 ** i, dilation=2 ** i)
                                     for i in range(cfg.detail_layers)])
        self.levels = DetailLevel(K, cfg.detail_levels) if cfg.detail_levels else None
        self.spread = nn.Conv2d(K, 4 * k, 1) if cfg.detail_layers else None     # to 2x2 pixels each

    def forward(self, pixels):
        d = F.relu(self.conv1(pixels))
        d = F.relu(self.conv2(d))                                          # (N, k, H, W)
        half = F.relu(self.conv3(d))                                       # (N, C/2, H/2, W/2)
        x = self.conv4(half)                                               # (N, C, H/4, W/4)
        if self.spread is not None:
            for layer in self.layers:
                half = F.relu(layer(half))                                 # (N, K, H/2, W/2)
            if self.levels is not None:
                half = self.levels(half)
            d = d + F.pixel_shuffle(self.spread(half), 2)                  # (N, k, H, W)
        return self.norm(x.permute(0, 2, 3, 1)), d


class Head(nn.Module):
    """x4 expand, LN, classifier: the activation peak (N*H*W*C), so it can run in bands of token rows.

    With patch expanding every output pixel depends on its own token (and its own detail pixel) only, so banding changes no bit; an
    upsampling with a halo hands each band one token row more on both sides.
    """
    def __init__(self, cfg):
        super().__init__()
        C, K = cfg.width, cfg.head_width or cfg.width
        self.side, self.K, self.up = cfg.image_size // 4, K, cfg.up
        self.expand = up_layer(cfg.up, C, K, 4)
        self.norm = nn.LayerNorm(K)
        self.mix = nn.Linear(cfg.detail, K) if cfg.detail else None
        self.classify = nn.Linear(K, cfg.classes, bias=False)              # 1x1 convolution

    def band(self, x, detail, rows):
        halo = HALO[self.up]
        y = upsample(self.up, self.expand, x, 4, rows + 2 * halo, self.side, self.K)            # (N, 4*(rows + 2 halo), W, K)
        y = self.norm(y[:, 4 * halo:4 * (halo + rows)] if halo else y)                          # (N, 4*rows, W, K)
        if detail is not None:
            y = F.relu(y + self.mix(detail.permute(0, 2, 3, 1)))           # (N, 4r, W, K)
        return self.classify(y).permute(0, 3, 1, 2)                        # (N, classes, 4r, W)

    def forward(self, x, detail, bands):
        detail = detail if self.mix is not None else None
        halo = HALO[self.up]
        if halo:                                               # past the map's edge: repeated, as interpolate does; zero for a convolution
            top, bottom = x[:, :1], x[:, -1:]
            x = torch.cat([top, x, bottom] if self.up == "bilinear" else [torch.zeros_like(top), x, torch.zeros_like(bottom)], 1)
        if bands <= 1:
            return self.band(x, detail, self.side)
        if self.side % bands:
            raise ValueError(f"{self.side} token rows do not divide into {bands} bands")
        r = self.side // bands
        return torch.cat([self.band(x[:, i:i + r + 2 * halo], None if detail is None else detail[:, :, 4 * i:4 * (i + r)], r)
                          for i in range(0, self.side, r)], 2)


class SwinUnet(nn.Module):
    def __init__(self, cfg: SwinUnetConfig):
        super().__init__()
        self.cfg = cfg
        self.bands = 1
        C, side = cfg.width, cfg.image_size // 4
        rates = torch.linspace(0, cfg.drop_path, sum(cfg.depths)).tolist()
        start = [sum(cfg.depths[:i]) for i in range(4)]
        hidden = iter(cfg.hidden or [cfg.mlp_ratio * (C << i) for i in cfg.block_stages()])
        kept = iter(cfg.kept_heads or cfg.block_heads())
        reach = cfg.attention_window // 2 if cfg.shift else 0

        def block(i, j):
            rate = rates[start[i] + j]
            if cfg.block == "bottleneck":
                return BottleneckBlock(C << i, cfg, rate)
            return Block(C << i, cfg.heads[i], side >> i, cfg, (j % 2) * reach, rate, next(hidden), next(kept))

        def stage(i):                                                      # called in running order, which hidden and kept_heads follow
            return nn.Sequential(*[block(i, j) for j in range(cfg.depths[i])])

        self.stem = ConvStem(cfg) if cfg.stem == "conv" else PatchStem(cfg)
        self.encoder = nn.ModuleList([stage(i) for i in range(4)])
        self.merge = nn.ModuleList([PatchMerging(C << i, side >> i) for i in range(3)])
        self.norm = nn.LayerNorm(8 * C)
        self.expand = nn.ModuleList([PatchExpand(C << i, side >> i, cfg.up) for i in (3, 2, 1)])
        self.fuse = nn.ModuleList([nn.Linear(2 * (C << i), C << i) if 2 - i < cfg.skips else nn.Identity() for i in (2, 1, 0)])
        self.decoder = nn.ModuleList([stage(i) for i in (2, 1, 0)])
        self.norm_up = nn.LayerNorm(C)
        self.head = Head(cfg)
        for m in self.modules():
            if isinstance(m, nn.Linear):
                nn.init.trunc_normal_(m.weight, std=0.02)
                if m.bias is not None:
                    nn.init.zeros_(m.bias)
            if isinstance(m, Residual) and m.position is not None:
                nn.init.zeros_(m.position.weight)
                nn.init.zeros_(m.position.bias)
        if cfg.detail_layers:                                              # starts as if it were not there
            for layer in self.stem.layers:
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(self.stem.spread.weight)
            nn.init.zeros_(self.stem.spread.bias)
        if cfg.detail_levels:
            self.stem.levels.initialize()
        if self.head.mix is not None:                                      # relu follows: He, or the detail arrives at 2 %
            nn.init.kaiming_normal_(self.head.mix.weight, nonlinearity="relu")

    def forward(self, pixels):
        S = self.cfg.image_size
        if not torch.jit.is_tracing():
            assert pixels.shape[2] == S and pixels.shape[3] == S, f"pixels are {tuple(pixels.shape[2:])}, the network takes {S} x {S}"
        x, detail = self.stem(pixels)                        # (N, 56, 56, C), (N, k, 224, 224)
        skips = []
        for i in range(3):
            x = self.encoder[i](x)
            skips.append(x)                                  # 56^2 C, 28^2 2C, 14^2 4C
            x = self.merge[i](x)
        x = self.norm(self.encoder[3](x))                    # (N, 7, 7, 8C)
        for i in range(3):
            x = self.expand[i](x)                            # 14^2 4C, 28^2 2C, 56^2 C
            if not isinstance(self.fuse[i], nn.Identity):
                x = self.fuse[i](torch.cat([x, skips[2 - i]], -1))
            x = self.decoder[i](x)
        return self.head(self.norm_up(x), detail, self.bands)              # (N, classes, H, W)

    def blocks(self):
        """Name and block, in the order of the config's `hidden` and `kept_heads`."""
        return [(f"{part}.{i}.{j}", block) for part in ("encoder", "decoder")
                for i, stage in enumerate(getattr(self, part)) for j, block in enumerate(stage)]

    def parameter_count(self):
        return sum(p.numel() for p in self.parameters())


def load_weights(cfg_dict, state):
    """Build the network a checkpoint was written for, strictly: a key or a shape too many is an error, in one sentence."""
    known = {f.name for f in fields(SwinUnetConfig)}
    unknown = set(cfg_dict) - known
    if unknown:
        raise ValueError(f"checkpoint config has unknown entries {sorted(unknown)}; this swin_unet.py knows {sorted(known)}")
    model = SwinUnet(SwinUnetConfig(**cfg_dict))
    check_state(model, state)
    model.load_state_dict(state)
    return model


def check_state(model, state):
    own = model.state_dict()
    missing, extra = sorted(set(own) - set(state)), sorted(set(state) - set(own))
    shapes = [f"{k} is {tuple(state[k].shape)} in the checkpoint, {tuple(own[k].shape)} in the network"
              for k in own if k in state and own[k].shape != state[k].shape]
    if missing or extra or shapes:
        raise ValueError(f"checkpoint does not fit the config {asdict(model.cfg)}: {len(missing)} tensors missing {missing[:3]}, "
                         f"{len(extra)} not expected {extra[:3]}, {len(shapes)} of another shape {shapes[:3]}. "
                         "Use the config the checkpoint was trained with.")
