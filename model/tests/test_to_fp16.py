import hashlib
import json

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch

from export_onnx import export
from to_fp16 import add_to_package, to_fp16
from quantize import quantize
from swin_unet import SwinUnet, SwinUnetConfig
from tiny_package import CONFIG, OUT


def run(path, x):
    return ort.InferenceSession(str(path), providers=["CPUExecutionProvider"]).run(["logits"], {"pixels": x})[0]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("half")
    model = SwinUnet(SwinUnetConfig(**CONFIG)).eval()
    with torch.no_grad():
        model.head.classify.weight.mul_(100)
    export(model, folder / "fp32.onnx", bands=4)
    quantize(folder / "fp32.onnx", folder / "int4.onnx")
    to_fp16(folder / "int4.onnx", folder / "half.onnx")
    return folder


def test_the_same_scores_within_what_float16_can_hold(files):
    x = np.random.default_rng(0).uniform(-1, 1, (3, 3, 64, 64)).astype(np.float32)
    want, got = run(files / "int4.onnx", x), run(files / "half.onnx", x)
    assert got.dtype == np.float32
    assert want.std() > 1
    assert 0 < np.abs(got - want).max() < 0.02 * np.abs(want).max()


def test_in_and_out_stay_float32_and_the_codes_stay_4_bit(files):
    wide, narrow = onnx.load(files / "int4.onnx").graph, onnx.load(files / "half.onnx").graph
    for a, b in ((wide.input[0], narrow.input[0]), (wide.output[0], narrow.output[0])):
        assert a == b
    codes = lambda g: {t.name: t.raw_data for t in g.initializer if t.name.endswith(".codes")}
    assert codes(wide) == codes(narrow) and codes(wide)
    floats = {t.name for t in narrow.initializer if t.data_type == onnx.TensorProto.FLOAT}
    masks = {i for n in narrow.node if n.op_type == "Where" for i in n.input}
    assert floats <= masks
    scales = {n.input[2] for n in narrow.node if n.op_type == "MatMulNBits"}
    assert all(t.data_type == onnx.TensorProto.FLOAT16 for t in narrow.initializer if t.name in scales)
    assert scales <= {t.name for t in narrow.initializer}
    assert (files / "half.onnx").stat().st_size < 1.05 * (files / "int4.onnx").stat().st_size


def test_a_package_gets_its_companion_once_and_only_if_the_golden_tile_allows(tmp_path):
    package = tmp_path / "tiny"
    (package / "golden").mkdir(parents=True)
    for name in ("tiny-int4.onnx", "golden/input.bin", "golden/output.bin"):
        (package / name).write_bytes((OUT / name).read_bytes())
    manifest = json.loads((OUT / "model.json").read_text())
    shipped = manifest["variants"]["int4"].pop("half")
    (package / "model.json").write_text(json.dumps(manifest))
    for _ in range(2):
        add_to_package(package)
        described = json.loads((package / "model.json").read_text())["variants"]["int4"]["half"]
        assert described["path"] == shipped["path"]
        assert described["sha256"] == hashlib.sha256((package / described["path"]).read_bytes()).hexdigest()
    (package / "golden" / "output.bin").write_bytes(bytes(3 * 64 * 64))
    before = (package / "model.json").read_text()
    with pytest.raises(SystemExit, match="further off"):
        add_to_package(package)
    assert (package / "model.json").read_text() == before
    assert not list(package.glob("*.part"))


def test_what_float16_cannot_hold_and_what_is_not_4_bit_is_refused(files, tmp_path):
    with pytest.raises(SystemExit, match="no MatMulNBits"):
        to_fp16(files / "fp32.onnx", tmp_path / "x.onnx")
    model = onnx.load(files / "int4.onnx")
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.float32([1e6]), "large"))
    onnx.save(model, tmp_path / "large.onnx")
    with pytest.raises(SystemExit, match="large holds 1e\\+06"):
        to_fp16(tmp_path / "large.onnx", tmp_path / "x.onnx")
