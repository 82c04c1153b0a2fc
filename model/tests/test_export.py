import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch

from compress import bake, compress
from export_onnx import count_macs, export
from quantize import block_of, channel_codes, nibbles, quantize, read_scales, round_blocks
from swin_unet import SwinUnet, SwinUnetConfig

TINY = dict(width=24, heads=(1, 2, 4, 8), drop_path=0.0, stem="conv", detail=8, head_width=8)
LINEARS = 14 * 4 - 4 + 3 + 3 + 3 + 1                               # blocks (four 24x24 are small), merges, expands, skips, head


def run(path, x):
    return ort.InferenceSession(str(path), providers=["CPUExecutionProvider"]).run(["logits"], {"pixels": x})[0]


def pixels(n):
    return np.random.default_rng(0).standard_normal((n, 3, 224, 224)).astype(np.float32)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A float32 network, rounded to 4 bits after the fact; and one whose weights lie on a 4-bit grid, in float32 and both packed forms."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("onnx")
    model = SwinUnet(SwinUnetConfig(**TINY)).eval()
    worst = export(model, folder / "fp32.onnx", bands=7)
    packed = quantize(folder / "fp32.onnx", folder / "rounded.onnx")
    compress(model, "fake_quant", scale="learned")
    scales = {name.removesuffix(".weight"): torch.from_numpy(p.arrays["scale"][:, 0]) for name, p in bake(model).items()}
    torch.save({"scales": scales}, folder / "scales.pt")
    export(model, folder / "grid.onnx", bands=7)
    for form in ("nbits", "edge"):
        quantize(folder / "grid.onnx", folder / f"{form}.onnx", form, read_scales(folder / "scales.pt"))
    return folder, worst, packed


def test_torch_and_onnx_agree(files):
    assert files[1] < 1e-4


@pytest.mark.parametrize("name", ["rounded", "nbits", "edge"])
def test_every_large_linear_is_packed_and_the_file_shrinks(files, name):
    folder, _, packed = files
    graph = onnx.load(folder / f"{name}.onnx").graph
    weights = {t.name: list(t.dims) for t in graph.initializer}
    assert packed == LINEARS
    assert all(np.prod(weights[n.input[1]]) < 1024 for n in graph.node if n.op_type in ("MatMul", "Gemm") and n.input[1] in weights)
    assert all(np.prod(t.dims) < 1024 for t in graph.initializer if t.data_type == onnx.TensorProto.FLOAT)
    assert (folder / f"{name}.onnx").stat().st_size < 0.3 * (folder / "fp32.onnx").stat().st_size


def test_shift_masks_and_bias_tables_are_made_when_the_file_loads(files):
    graph = onnx.load(files[0] / "fp32.onnx").graph
    assert max(np.prod(t.dims) for t in graph.initializer if not t.name.endswith(".weight")) < 10_000


def test_rounding_afterwards_stays_close_and_takes_any_batch(files):
    folder, x = files[0], pixels(3)
    want, got = run(folder / "fp32.onnx", x), run(folder / "rounded.onnx", x)
    assert got.shape == (3, 3, 224, 224)
    assert np.sqrt(((got - want) ** 2).mean()) < 0.3 * want.std()              # random weights, 24 wide: the worst case for round to nearest
    np.testing.assert_allclose(run(folder / "rounded.onnx", x[1:2]), got[1:2], atol=1e-4)


def test_weights_trained_in_4_bits_lose_nothing_but_the_halved_rest(files):
    folder, x = files[0], pixels(2)
    want = run(folder / "grid.onnx", x)
    np.testing.assert_allclose(run(folder / "nbits.onnx", x), want, atol=5e-3 * want.std())


def test_the_edge_form_differs_by_its_inputs_rounding_only(files):
    folder, x = files[0], pixels(1)
    want = run(folder / "grid.onnx", x)
    assert np.sqrt(((run(folder / "edge.onnx", x) - want) ** 2).mean()) < 0.05 * want.std()


def test_large_convolutions_are_stored_in_8_bits_with_a_scale_per_channel(tmp_path):
    torch.manual_seed(0)
    model = SwinUnet(SwinUnetConfig(**TINY, detail_layers=1, detail_width=24, detail_levels=(48,))).eval()
    torch.nn.init.normal_(model.stem.levels.up.weight, std=0.05)
    export(model, tmp_path / "fp32.onnx", bands=7)
    quantize(tmp_path / "fp32.onnx", tmp_path / "int4.onnx")
    stored = {t.name: onnx.numpy_helper.to_array(t) for t in onnx.load(tmp_path / "int4.onnx").graph.initializer}
    small = dict(model.named_parameters())
    large = {f"stem.levels.{name}.weight" for name in ("down", "before")}
    assert {name.removesuffix(".codes") for name, array in stored.items() if array.dtype == np.int8} == large
    for name in large:
        scale = stored[name + ".scales.half"].astype(np.float32)
        error = np.abs(stored[name + ".codes"] * scale - small[name].detach().numpy())
        assert scale.shape == (48, 1, 1, 1) and (error <= 0.51 * scale).all()      # scales are rounded to half precision
    x = pixels(1)
    want = run(tmp_path / "fp32.onnx", x)
    assert np.sqrt(((run(tmp_path / "int4.onnx", x) - want) ** 2).mean()) < 0.3 * want.std()


def test_weights_off_their_grid_are_refused():
    W = np.array([[0.1, 0.2], [-0.3, 0.05]], np.float32)
    assert channel_codes(W, np.array([0.1, -0.05], np.float32), "w").tolist() == [[1, -4], [-3, -1]]
    with pytest.raises(SystemExit, match="w does not lie on its 4-bit grid"):
        channel_codes(W, np.array([0.1, 0.15], np.float32), "w")


def test_blocks_round_to_half_a_step_with_zero_exact():
    W = np.random.default_rng(1).standard_normal((70, 5)).astype(np.float32)
    W[3] = 0
    codes, scale, zero = round_blocks(W, 32)
    s, z = (np.repeat(a.astype(np.float32).T, 32, 0)[:70] for a in (scale, zero))
    back = (codes - z) * s
    assert np.abs(back - W).max() <= 0.5 * s.max() * 1.01 and not back[3].any()


def test_nibbles_put_the_first_code_low():
    assert nibbles(np.array([1, 2, -1], np.int8)).tolist() == [0x21, 0x0F]


def test_blocks_divide_the_usual_widths():
    assert [block_of(K) for K in (48, 96, 192, 384, 768, 1536, 40)] == [16, 32, 64, 128, 256, 256, 16]


def test_macs_of_the_paper():
    assert abs(count_macs(SwinUnet(SwinUnetConfig(width=48))) / 1e9 - 1.60) < 0.02
