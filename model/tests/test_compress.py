import numpy as np
import pytest
import torch
import torch.nn as nn
import torch.nn.utils.parametrize as P

import compress as C
import packed as packed_forms
from swin_unet import SwinUnet, SwinUnetConfig, load_weights

TINY = dict(image_size=64, attention_window=2, width=24, heads=(1, 2, 4, 8), drop_path=0.0)


def tiny(**more):
    torch.manual_seed(0)
    model = SwinUnet(SwinUnetConfig(**TINY | more))
    with torch.no_grad():
        for p in model.parameters():                       # the usual start, 0.02, would let the MLPs and biases say nothing
            p.add_(torch.randn_like(p) * 0.1)
    return model.eval()


def pixels(n=2, seed=1):
    return torch.randn(n, 3, 64, 64, generator=torch.Generator().manual_seed(seed))


def matrix(rows=24, columns=96, seed=0):
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed)) * 0.05


def step_of(p):
    return packed_forms.spread(torch.from_numpy(p.arrays["scale"]).float(), p.block, p.shape[1])


# ---- packing

@pytest.mark.parametrize("bits", [1, 4, 8])
@pytest.mark.parametrize("count", [1, 7, 16])
def test_codes_come_back_from_their_bits(bits, count):
    codes = np.random.default_rng(0).integers(0, 2 ** bits, count).astype(np.uint8)
    packed = packed_forms.pack_bits(codes, bits)
    assert len(packed) == -(-count * bits // 8)
    assert np.array_equal(packed_forms.unpack_bits(packed, bits, count), codes)


def test_the_first_code_lies_in_the_low_bits():
    assert packed_forms.pack_bits([1, 15], 4).tolist() == [0xF1]
    assert packed_forms.pack_bits([1, 0, 0, 1], 1).tolist() == [0b1001]


# ---- round to nearest

@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("block", [0, 32, 40])              # 40 leaves a ragged block of 16
@pytest.mark.parametrize("bits", [4, 8])
def test_rounding_errs_by_half_a_step_at_most(symmetric, block, bits):
    W = matrix() + 0.02                                     # off centre, as a row of a trained matrix may be
    p = C.rtn(W, bits, block, symmetric)
    steps = (packed_forms.decode(p) - W) / step_of(p)
    past_the_end = symmetric & (W / step_of(p) > 2 ** (bits - 1) - 1)
    assert (steps[~past_the_end].abs() <= 0.5001).all() and (steps.abs() <= 1.0001).all()
    assert float(past_the_end.float().mean()) < 0.05
    assert p.arrays["scale"].shape == (24, 1 if block == 0 else -(-96 // block))


def test_codes_use_their_whole_range_and_no_more():
    asymmetric = packed_forms.unpack_bits(C.rtn(matrix()).arrays["codes"], 4, 24 * 96)
    assert asymmetric.min() == 0 and asymmetric.max() == 15
    W = matrix()
    p = C.rtn(W, symmetric=True)
    symmetric = packed_forms.unpack_bits(p.arrays["codes"], 4, 24 * 96).reshape(24, 3, 32)
    assert symmetric.max() == 15                            # the middle, zero, is 8
    largest = W.view(24, 3, 32).abs().argmax(2, keepdims=True)
    assert (np.take_along_axis(symmetric, largest.numpy(), 2) == 0).all()
    assert (p.arrays["scale"] < 0).any() and (p.arrays["scale"] > 0).any()


@pytest.mark.parametrize("symmetric", [True, False])
def test_zero_stays_zero_and_an_empty_block_too(symmetric):
    W = matrix()
    W[3, 5], W[4] = 0, 0
    out = packed_forms.decode(C.rtn(W, symmetric=symmetric))
    assert out[3, 5] == 0 and (out[4] == 0).all()


@pytest.mark.parametrize("symmetric", [True, False])
def test_clip_search_never_loses_and_wins_with_an_outlier(symmetric):
    W = matrix()
    W[:, 7] *= 8
    plain, clipped = (packed_forms.decode(C.rtn(W, 4, 32, symmetric, clip)) for clip in (False, True))
    error = [(d - W).square().view(24, 3, 32).sum(2) for d in (plain, clipped)]
    assert (error[1] <= error[0] * 1.0001).all()
    assert error[1].sum() < error[0].sum()


def test_relative_errors_of_a_gaussian():
    W = torch.randn(256, 1024, generator=torch.Generator().manual_seed(0))
    error = {(s, b): float((packed_forms.decode(C.rtn(W, 4, b, s)) - W).norm() / W.norm()) for s in (True, False) for b in (32, 128)}
    assert error[True, 32] == pytest.approx(0.086, abs=0.002) and error[False, 32] == pytest.approx(0.081, abs=0.002)
    assert error[True, 128] == pytest.approx(0.103, abs=0.002) and error[False, 128] == pytest.approx(0.101, abs=0.002)


# ---- codebooks and HQQ

def test_kmeans_keeps_sixteen_values_each_the_mean_of_its_own():
    W = matrix(64, 96)
    p = C.kmeans(W)
    out = packed_forms.decode(p)
    assert len(out.unique()) == 16
    for c in out.unique():
        assert float(W[out == c].mean()) == pytest.approx(float(c), rel=2e-3, abs=1e-4)      # float16, and its rounded borders
    distance = (W[..., None] - torch.from_numpy(p.arrays["table"][0]).float()).abs()
    assert torch.allclose((out - W).abs(), distance.amin(-1), atol=1e-6)                     # nobody has a nearer centre
    assert torch.equal(packed_forms.decode(C.kmeans(W)), out)                                           # no chance in it


def test_kmeans_beats_one_uniform_grid_over_the_matrix():
    W = matrix(64, 96)
    grid = packed_forms.decode(C.rtn(W.view(1, -1), 4, 0)).view_as(W)
    assert (packed_forms.decode(C.kmeans(W)) - W).square().sum() < (grid - W).square().sum()


def test_hqq_lessens_the_error_it_is_about_when_there_are_outliers():
    W = matrix(64, 128)
    W[torch.rand(W.shape, generator=torch.Generator().manual_seed(1)) < 0.02] *= 6
    out = packed_forms.decode(C.hqq(W))
    rounded = packed_forms.decode(C.rtn(W))
    assert (out - W).abs().pow(0.7).sum() < (rounded - W).abs().pow(0.7).sum()
    blocks = out.view(64, 4, 32)
    assert max(len(b.unique()) for row in blocks for b in row) <= 16


@pytest.mark.parametrize("method", [C.rtn, C.kmeans, C.hqq])
def test_a_pruned_matrix_keeps_its_zeros_and_takes_fewer_bytes(method):
    W = matrix(64, 96)
    W[W.abs() < W.abs().median()] = 0
    p = method(W)
    assert (packed_forms.decode(p)[W == 0] == 0).all()
    assert "bitmap" in p.arrays
    whole = method(matrix(64, 96))
    assert sum(a.nbytes for a in p.arrays.values()) < sum(a.nbytes for a in whole.arrays.values())


# ---- training through the codes

@pytest.mark.parametrize("scale", ["max", "mse", "learned"])
@pytest.mark.parametrize("bits, block", [(4, 0), (8, 0), (4, 32)])
def test_fake_quantised_weights_lie_on_their_grid_and_let_gradients_through(scale, bits, block):
    layer = nn.Linear(96, 24)
    P.register_parametrization(layer, "weight", C.FakeQuant(layer.weight, bits, block, scale))
    step = layer.parametrizations.weight[0].step(layer.parametrizations.weight.original)
    step = packed_forms.spread(step.detach(), block or 96, 96)
    codes = layer.weight.detach() / step
    lowest = 2 ** (bits - 1)
    assert torch.allclose(codes, codes.round(), atol=1e-3) and codes.min() >= -lowest - 1e-3 and codes.max() <= lowest - 1 + 1e-3
    slope = torch.linspace(0.5, 1, 24 * 96).view(24, 96)
    (layer.weight * slope).sum().backward()
    w = layer.parametrizations.weight.original
    inside = ((w.detach() / step) >= -lowest) & ((w.detach() / step) <= lowest - 1)
    assert torch.allclose(w.grad[inside], slope[inside], rtol=1e-4) and (w.grad[~inside] == 0).all()
    assert float(inside.float().mean()) > 0.9
    trained = layer.parametrizations.weight[0].scale
    assert (trained is not None and trained.requires_grad) == (scale == "learned")
    if scale == "learned":
        assert trained.grad.abs().max() > 0


@pytest.mark.parametrize("rule", ["fixed", "flexible", "kmeans"])
@pytest.mark.parametrize("per_row", [False, True])
@pytest.mark.parametrize("straight_through", [False, True])
def test_one_bit_is_two_values_and_learns_what_it_says(rule, per_row, straight_through):
    model = tiny()
    C.compress(model, "one_bit", rule=rule, per_row=per_row, straight_through=straight_through)
    layer = model.encoder[2][0].attn.qkv
    distinct = [len(row.unique()) for row in (layer.weight if per_row else layer.weight.view(1, -1))]
    assert set(distinct) == {2}
    if per_row:
        assert len(layer.weight.unique()) > 2
    model(pixels()).square().mean().backward()
    w, pair = layer.parametrizations.weight.original, layer.parametrizations.weight[0].pair
    assert w.requires_grad == straight_through and (w.grad is not None and bool(w.grad.any())) == straight_through
    assert (pair.grad is not None and bool(pair.grad.any())) == (rule == "flexible")
    assert model.head.classify.weight.grad is not None      # 72 weights: too few to compress, and they go on learning


def test_the_two_values_are_what_each_rule_says():
    W = torch.tensor([[-3.0, -1.0, 1.0, 2.0, 9.0]])
    assert C.sign_means(W).tolist() == [[-2.0, 4.0]]
    assert C.two_means(W).tolist() == [[-0.25, 9.0]]
    fixed, flexible = C.OneBit(W, "fixed"), C.OneBit(W, "flexible")
    assert fixed(W).tolist() == [[-2, -2, 4, 4, 4]]
    assert flexible(W).tolist() == [[-0.25, -0.25, -0.25, -0.25, 9]]
    with torch.no_grad():
        flexible.pair.copy_(torch.tensor([[-2.0, 4.0]]))    # the threshold goes with the pair: now 1
    assert flexible(W).tolist() == [[-2, -2, 4, 4, 4]]


def test_two_means_are_the_best_split_there_is():
    rows = matrix(5, 40)
    means = C.two_means(rows)
    def cost(row, cut):
        s = row.sort().values
        return float(s[:cut].var(correction=0) * cut + s[cut:].var(correction=0) * (40 - cut))
    for row, pair in zip(rows, means):
        nearest = (row[:, None] - pair).square().amin(1).sum()
        assert float(nearest) == pytest.approx(min(cost(row, cut) for cut in range(1, 40)), rel=1e-4)


def test_attention_alone_leaves_the_other_linears():
    model = tiny()
    before = {n: w.clone() for n, w in model.state_dict().items()}
    packed = C.compress(model, "rtn", scope="attention")
    assert packed and all(".attn." in n for n in packed)
    changed = {n for n, w in model.state_dict().items() if not torch.equal(w, before[n])}
    assert changed == set(packed)


# ---- unstructured pruning

def sparsities(model):
    return torch.tensor([float((m.weight == 0).float().mean()) for _, m in C.targets(model)])


def test_pruned_weights_stay_zero_through_training():
    model = tiny().train()
    C.compress(model, "mask")
    C.set_sparsity(model, 0.6)
    zeros = {n: m.weight == 0 for n, m in C.targets(model)}
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.05, weight_decay=0.1)
    before = model.encoder[2][0].fc1.weight.detach().clone()
    for i in range(3):
        optimizer.zero_grad()
        model(pixels(seed=i)).square().mean().backward()
        optimizer.step()
    assert all((m.weight[zeros[n]] == 0).all() for n, m in C.targets(model))
    assert not torch.equal(model.encoder[2][0].fc1.weight, before)
    C.set_sparsity(model, 0.8)                              # pruning goes on from the same zeros
    assert all((m.weight[zeros[n]] == 0).all() for n, m in C.targets(model))


@pytest.mark.parametrize("class_blind", [True, False])
def test_shares_of_the_two_ways_to_rank(class_blind):
    model = tiny()
    with torch.no_grad():
        model.merge[2].reduce.weight.mul_(0.1)
    C.compress(model, "mask")
    C.set_sparsity(model, 0.5, class_blind)
    counts = [m.weight.numel() for _, m in C.targets(model)]
    total = sum(int((m.weight == 0).sum()) for _, m in C.targets(model))
    assert total == pytest.approx(0.5 * sum(counts), abs=len(counts))
    shares = sparsities(model)
    if class_blind:
        weights = torch.cat([m.parametrizations.weight.original.detach().flatten().abs() for _, m in C.targets(model)])
        gone = torch.cat([m.weight.detach().flatten() == 0 for _, m in C.targets(model)])
        assert weights[gone].max() <= weights[~gone].min()
        assert shares.max() > 0.9                           # the matrix made small goes nearly whole
    else:
        assert (shares - 0.5).abs().max() < 1e-3


def test_schedules():
    values = [C.cubic(s, 100, 500, 0.8, 0.1) for s in range(0, 601, 10)]
    assert values[0] == values[10] == pytest.approx(0.1) and values[50] == values[-1] == pytest.approx(0.8)
    assert all(a <= b for a, b in zip(values, values[1:]))
    assert C.cubic(300, 100, 500, 0.8) == pytest.approx(0.8 * (1 - 0.5 ** 3))
    assert [C.stepwise(s, [0.2, 0.4, 0.5], 10, start=5) for s in (0, 4, 5, 14, 15, 25, 99)] == [0, 0, 0.2, 0.2, 0.4, 0.5, 0.5]


# ---- in, out and size

ROWS = [("rtn", dict(symmetric=True)), ("rtn", dict(clip=True)), ("rtn", dict(bits=8, block=0, symmetric=True)),
        ("kmeans", {}), ("hqq", {}),
        ("fake_quant", dict(scale="learned")), ("fake_quant", dict(bits=8, scale="max")), ("fake_quant", dict(block=32)),
        ("one_bit", dict(rule="fixed")), ("one_bit", dict(per_row=True, straight_through=True)), ("mask", {})]


@pytest.mark.parametrize("method, options", ROWS)
def test_what_is_written_decodes_to_the_weights_that_ran_bit_for_bit(method, options):
    model = tiny()
    packed = C.compress(model, method, **options)
    if method in C.TRAINED:
        if method == "mask":
            C.set_sparsity(model, 0.5)
        optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1e-3)
        model(pixels()).square().mean().backward()
        optimizer.step()
        with torch.no_grad():
            logits = model(pixels())
        packed = C.bake(model)
        assert not any(P.is_parametrized(m) for m in model.modules())
        with torch.no_grad():
            assert torch.equal(model(pixels()), logits)
    state = model.state_dict()
    assert load_weights(TINY, state).parameter_count() == tiny().parameter_count()
    assert set(packed) == {f"{n}.weight" for n, _ in C.targets(model)}
    stored = packed_forms.read(packed_forms.write(packed, {n: t for n, t in state.items() if n not in packed}, np.float32))
    assert set(stored) == set(state)
    for name, p in stored.items():
        assert torch.equal(packed_forms.decode(p), state[name]), name
    assert all(p.requires_grad for p in model.parameters())


def test_pruned_and_quantised_together():
    model = tiny()
    C.compress(model, "mask")
    C.set_sparsity(model, 0.7)
    C.compress(model, "fake_quant", block=32)
    model(pixels()).square().mean().backward()
    packed = C.bake(model)
    assert sum(float((packed_forms.decode(p) == 0).sum()) for p in packed.values()) >= 0.69 * sum(np.prod(p.shape) for p in packed.values())
    for name, p in packed.items():
        assert torch.equal(packed_forms.decode(p), model.state_dict()[name])
    dense = tiny()
    assert packed_forms.packed_size(model, packed)["raw_bytes"] < packed_forms.packed_size(dense, C.compress(dense, "rtn", symmetric=True))["raw_bytes"]


def test_bits_per_weight():
    def bits(method, **options):
        model = tiny()
        packed = C.compress(model, method, **options)
        if method in C.TRAINED:
            packed = C.bake(model)
        size = packed_forms.packed_size(model, packed)
        assert size["compressed_bytes"] <= size["raw_bytes"]
        return size["bits_per_weight"]

    assert bits("rtn", symmetric=True) == pytest.approx(4 + 16 / 32, abs=0.07)           # the table of contents is the rest
    assert bits("rtn") == pytest.approx(4 + (16 + 4) / 32, abs=0.07)
    assert bits("kmeans") == pytest.approx(4, abs=0.07)
    assert bits("hqq") == pytest.approx(4 + 32 / 32, abs=0.07)
    assert bits("one_bit") == pytest.approx(1, abs=0.07)
    model = tiny()
    assert packed_forms.packed_size(model, {}, np.float32)["bits_per_weight"] == pytest.approx(32, rel=0.02)
    assert packed_forms.packed_size(model, {})["bits_per_weight"] == pytest.approx(16, rel=0.04)


def test_wrong_requests_say_what_to_do():
    model = tiny()
    with pytest.raises(ValueError, match='method is "zip"'):
        C.compress(model, "zip")
    with pytest.raises(ValueError, match="no masks"):
        C.set_sparsity(model, 0.5)
    with pytest.raises(ValueError, match="no linear of 1024 weights"):
        C.compress(nn.Sequential(nn.Linear(4, 4)), "rtn")
    C.compress(model, "one_bit")
    for again in ("rtn", "fake_quant", "mask"):
        with pytest.raises(ValueError, match="bake"):
            C.compress(model, again)
    with pytest.raises(ValueError, match="bake"):
        packed_forms.packed_size(model, {})
