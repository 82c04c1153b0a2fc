import copy

import onnx
import pytest
import torch
import torch.nn.functional as F

import structured_pruning
from export_onnx import export
from resize_detail import grow
from swin_unet import load_weights
from test_compress import TINY, pixels, tiny

STAGES = [0, 0, 1, 1, 2, 2, 3, 3, 2, 2, 1, 1, 0, 0]


def batches():
    return [(pixels(2, seed), torch.randint(0, 3, (2, 64, 64), generator=torch.Generator().manual_seed(seed))) for seed in (1, 2)]


def silence(model, scores, mlp_share, head_share, ranking="block"):
    """A copy whose to-be-removed units are zero where they leave the block; also the units, per block."""
    model = copy.deepcopy(model)
    small = structured_pruning.shrink(model, mlp_share, head_share, scores, ranking)
    with torch.no_grad():
        for (_, b), s, h, k in zip(model.blocks(), scores, small.cfg.hidden, small.cfg.kept_heads):
            b.fc2.weight[:, s["hidden"].argsort()[:b.fc1.out_features - h]] = 0
            hd = b.attn.inner // b.attn.heads
            for head in s["heads"].argsort()[:b.attn.heads - k]:
                b.attn.proj.weight[:, head * hd:(head + 1) * hd] = 0
    return model


@pytest.mark.parametrize("ranking", ["block", "global"])
@pytest.mark.parametrize("by", ["taylor", "magnitude"])
def test_shrinking_is_exact_when_what_goes_was_silent(ranking, by):
    model = tiny(stem="conv", detail=8, position_kernel=3)
    scores = structured_pruning.importance(model, *((batches(), F.cross_entropy) if by == "taylor" else ()))
    silent = silence(model, scores, 0.5, 0.5, ranking)
    small = structured_pruning.shrink(silent, 0.5, 0.5, scores, ranking)
    assert small.parameter_count() < 0.8 * model.parameter_count()
    with torch.no_grad():
        assert torch.allclose(small(pixels()), silent(pixels()), atol=1e-5)
        assert not torch.allclose(model(pixels()), silent(pixels()), atol=1e-2)
    assert all(h % 16 == 0 for h in small.cfg.hidden) and min(small.cfg.kept_heads) >= 1
    if ranking == "block":
        assert small.cfg.hidden == tuple(48 << i for i in STAGES)
        assert small.cfg.kept_heads == tuple((1, 1, 2, 4)[i] for i in STAGES)


def test_shrinking_twice_and_through_a_checkpoint():
    model = tiny()
    once = structured_pruning.shrink(model, 0.25, 0.25, structured_pruning.importance(model))
    twice = structured_pruning.shrink(once, 0.25, 0.5, structured_pruning.importance(once))
    assert twice.parameter_count() < once.parameter_count() < model.parameter_count()
    saved = {"width": 24, **TINY, "hidden": list(twice.cfg.hidden), "kept_heads": list(twice.cfg.kept_heads)}      # lists, as JSON has them
    again = load_weights(saved, twice.state_dict()).eval()
    with torch.no_grad():
        assert torch.equal(again(pixels()), twice(pixels()))
    with pytest.raises(ValueError, match="of another shape"):
        load_weights(TINY, twice.state_dict())
    none = structured_pruning.shrink(model, 0, 0, structured_pruning.importance(model))
    with torch.no_grad():
        assert torch.equal(none(pixels()), model(pixels()))


def test_taylor_score_is_the_gradient_of_the_units_gate():
    model, (x, y) = tiny(), batches()[0]
    scores = structured_pruning.importance(model, [(x, y)], F.cross_entropy)
    index, unit, head = 4, 5, 2
    block = model.blocks()[index][1]
    hd = block.attn.inner // block.attn.heads

    def loss(gate_unit, gate_head):
        m = copy.deepcopy(model).double()
        b = m.blocks()[index][1]
        with torch.no_grad():
            b.fc2.weight[:, unit] *= gate_unit
            b.attn.proj.weight[:, head * hd:(head + 1) * hd] *= gate_head
            return float(F.cross_entropy(m(x.double()), y))

    e = 1e-4
    assert float(scores[index]["hidden"][unit]) == pytest.approx(abs(loss(1 + e, 1) - loss(1 - e, 1)) / (2 * e), rel=1e-2)
    assert float(scores[index]["heads"][head]) == pytest.approx(abs(loss(1, 1 + e) - loss(1, 1 - e)) / (2 * e), rel=1e-2)


def test_magnitude_does_not_move_when_scale_moves_across_a_unit():
    model = tiny()
    before = structured_pruning.importance(model)[3]
    block = model.blocks()[3][1]
    with torch.no_grad():
        block.fc1.weight[4] *= 5
        block.fc2.weight[:, 4] /= 5
    assert torch.allclose(structured_pruning.importance(model)[3]["hidden"], before["hidden"], rtol=1e-5)


def test_global_ranking_takes_from_the_unimportant_block_down_to_its_floor():
    model = tiny()
    scores = [{"hidden": torch.rand(b.fc1.out_features) + (0 if i == 6 else 1), "heads": torch.rand(b.attn.heads) + (0 if i == 6 else 1)}
              for i, (_, b) in enumerate(model.blocks())]
    small = structured_pruning.shrink(model, 0.1, 0.05, scores, "global", floor=0.25)
    assert small.cfg.hidden[6] < 0.65 * 768 and small.cfg.hidden[7] >= 0.95 * 768
    tight = structured_pruning.shrink(model, 0.9, 0.9, scores, "global", floor=0.25)
    assert tight.cfg.hidden[6] == 192 and tight.cfg.kept_heads[6] == 2


def test_a_shrunk_network_exports_smaller_and_agrees(tmp_path):
    model = tiny()
    small = structured_pruning.shrink(model, 0.5, 0.5, structured_pruning.importance(model))
    assert export(model, tmp_path / "whole.onnx", bands=4) < 1e-3
    assert export(small, tmp_path / "small.onnx", bands=4) < 1e-3
    assert (tmp_path / "small.onnx").stat().st_size < 0.8 * (tmp_path / "whole.onnx").stat().st_size
    assert not {"Shape", "Gemm"} & {n.op_type for n in onnx.load(tmp_path / "small.onnx").graph.node}


def detailed(**more):
    return tiny(stem="conv", detail=8, detail_layers=3, detail_width=24, head_width=8, **more)


def test_a_narrower_detail_path_is_exact_when_what_goes_was_silent():
    model = detailed()
    gone = range(3, 24, 3)
    with torch.no_grad():
        for layer in (*model.stem.layers, model.stem.spread):          # in none of them is anything made of those channels
            if layer is not model.stem.layers[0]:
                layer.weight[:, list(gone)] = 0
    small = structured_pruning.shrink_detail(model, 24 - len(gone))
    assert small.cfg.detail_width == 17 and small.stem.spread.weight.shape[1] == 17
    with torch.no_grad():
        assert torch.allclose(small(pixels()), model(pixels()), atol=1e-4)
        assert not torch.allclose(structured_pruning.shrink_detail(model, 8)(pixels()), model(pixels()), atol=1e-3)
    again = load_weights({"width": 24, **TINY, "stem": "conv", "detail": 8, "detail_layers": 3, "head_width": 8, "detail_width": 17}, small.state_dict())
    with torch.no_grad():
        assert torch.equal(again.eval()(pixels()), small(pixels()))


@pytest.mark.parametrize("width", [0, 25])
def test_a_detail_path_is_not_widened_nor_emptied(width):
    with pytest.raises(ValueError, match=f"detail width {width}; the network has 3 detail layers of 24 channels"):
        structured_pruning.shrink_detail(detailed(), width)


def test_a_network_without_detail_layers_has_none_to_prune():
    with pytest.raises(ValueError, match="0 detail layers"):
        structured_pruning.shrink_detail(tiny(stem="conv", detail=8), 8)


def test_grown_levels_change_nothing_until_they_are_trained():
    model = detailed()
    grown = grow(model, (12, 16))
    assert grown.cfg.detail_levels == (12, 16) and grown.parameter_count() > model.parameter_count()
    with torch.no_grad():
        assert torch.equal(grown(pixels()), model(pixels()))
        torch.nn.init.normal_(grown.stem.levels.up.weight, std=0.1)
        assert not torch.allclose(grown(pixels()), model(pixels()), atol=1e-3)
    with pytest.raises(ValueError, match=r"already: \[12, 16\]"):
        grow(grown, (12,))
    with pytest.raises(ValueError, match="prune the layers first"):
        structured_pruning.shrink_detail(grown, 8)


@pytest.mark.parametrize("levels, why", [((0,), "widths of 1 or more"), ((8,) * 5, "up to 4 widths")])
def test_levels_that_cannot_be_are_refused(levels, why):
    with pytest.raises(ValueError, match=why):
        detailed(detail_levels=levels)
    with pytest.raises(ValueError, match="needs detail_layers"):
        tiny(stem="conv", detail=8, detail_levels=(8,))
