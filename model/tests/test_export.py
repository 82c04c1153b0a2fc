import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch

from export_onnx import count_macs, export
from quantize import quantize
from swin_unet import SwinUnet, SwinUnetConfig


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("onnx")
    model = SwinUnet(SwinUnetConfig(width=24, heads=(1, 2, 4, 8), drop_path=0.0, stem="conv", detail=8, head_width=8)).eval()
    worst = export(model, folder / "fp32.onnx", bands=7)
    packed, _ = quantize(folder / "fp32.onnx", folder / "int4.onnx")
    return model, folder, worst, packed


def test_torch_and_onnx_agree(files):
    assert files[2] < 1e-4


def test_every_large_linear_is_packed_and_the_file_shrinks(files):
    _, folder, _, packed = files
    graph = onnx.load(folder / "int4.onnx").graph
    left = [n for n in graph.node if n.op_type in ("MatMul", "Gemm")]
    weights = {t.name: list(t.dims) for t in graph.initializer}
    assert packed == 14 * 4 - 4 + 3 + 3 + 3 + 7                    # blocks (four 24x24 are small), merges, expands, skips, bands
    assert all(np.prod(weights[n.input[1]]) < 1024 for n in left if n.input[1] in weights)
    assert (folder / "int4.onnx").stat().st_size < 0.45 * (folder / "fp32.onnx").stat().st_size


def test_int4_stays_close_and_takes_any_batch(files):
    _, folder, _, _ = files
    a, b = (ort.InferenceSession(str(folder / f), providers=["CPUExecutionProvider"]) for f in ("fp32.onnx", "int4.onnx"))
    x = np.random.default_rng(0).standard_normal((3, 3, 224, 224)).astype(np.float32)
    want, got = a.run(["logits"], {"pixels": x})[0], b.run(["logits"], {"pixels": x})[0]
    assert got.shape == (3, 3, 224, 224)
    assert np.sqrt(((got - want) ** 2).mean()) < 0.3 * want.std()              # random weights, 24 wide: the worst case for round to nearest
    np.testing.assert_allclose(b.run(["logits"], {"pixels": x[1:2]})[0], got[1:2], atol=1e-4)


def test_macs_of_the_paper():
    assert abs(count_macs(SwinUnet(SwinUnetConfig(width=48))) / 1e9 - 1.60) < 0.02
