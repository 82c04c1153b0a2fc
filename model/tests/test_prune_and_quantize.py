import json

import numpy as np
import pytest
import torch

from evaluate import open_session
from swin_unet import SwinUnet, SwinUnetConfig
from test_tasks import TINY, launch, write_hippocampus

TRAIN = dict(batch=2, weight_decay=0.05, betas=[0.9, 0.98], clip=1.0, class_weights=[1.0, 1.0, 1.0], decay_plain_share=0.5, precision="bf16")


@pytest.fixture(scope="module")
def parent(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prune_and_quantize")
    write_hippocampus(folder)
    torch.manual_seed(0)
    model = SwinUnet(SwinUnetConfig(**TINY["hippocampus"]))
    dropping = TINY["hippocampus"] | {"drop_path": 0.5}
    config = {"data": {"task": "hippocampus"}, "model": dropping, "train": TRAIN | {"pair_share": 0.4, "picture_share": 0.6, "sharpness": 3.0}}
    torch.save({"config": config, "ema": model.state_dict(), "step": 7, "minutes": 0.0}, folder / "parent.pt")
    return folder


def test_from_a_checkpoint_to_a_package_of_two_variants(parent):
    fine_tune = ("prune_and_quantize.py", parent / "parent.pt", "--data", parent, "--out", parent / "int4", "--threads", 1, "--validate-every", 4)
    code, said, error = launch(*fine_tune, "--steps", 6)
    assert code == 0 and "4 bits from here" in said, said + error
    code, _, error = launch(*fine_tune, "--steps", 6)
    assert code == 1 and "Add --resume" in error
    code, said, error = launch(*fine_tune, "--steps", 8, "--resume", "--workers", 1, "--batch", 4)
    assert code == 0 and "at step 6" in said, said + error
    (parent / "int4" / "end.pt").unlink()
    code, said, error = launch(*fine_tune, "--steps", 8, "--resume")             # a finished run is validated again, and changes nothing
    assert code == 0 and "at step 8" in said, said + error
    end = torch.load(parent / "int4" / "end.pt", weights_only=True)
    assert end["step"] == 7 + 8

    saved = torch.load(parent / "int4" / "best.pt", weights_only=True)
    small, big = SwinUnetConfig(**saved["config"]["model"]), SwinUnetConfig(**TINY["hippocampus"])
    assert small.drop_path == 0                                                # the parent's 0.5 is not carried into pruning
    assert sum(small.hidden) <= 0.55 * sum(big.mlp_ratio * big.width * 2 ** s for s in big.block_stages())
    for name, scale in saved["scales"].items():
        codes = saved["ema"][f"{name}.weight"] / scale.float()[:, None]
        assert (codes - codes.round()).abs().max() < 1e-2 and codes.round().min() >= -8 and codes.round().max() <= 7

    code, said, error = launch("package.py", parent / "int4" / "best.pt", "--parent", parent / "parent.pt", "--out", parent / "package", "--no-score")
    assert code == 0, said + error
    manifest = json.loads((parent / "package" / "model.json").read_text())
    assert list(manifest["variants"]) == ["int4", "int4-edge"] and manifest["variants"]["int4-edge"]["windowsPerRun"] == 1
    assert 0.2 < manifest["variants"]["int4"]["sparsity"] < 0.7
    S = TINY["hippocampus"]["image_size"]
    x = np.random.default_rng(0).uniform(-1, 1, (2, 3, S, S)).astype(np.float32)
    a, b = (open_session(parent / "package" / f"hippocampus-{v}.onnx")(x) for v in ("int4", "int4-edge"))
    assert np.abs(a - b).max() < 0.05 * np.abs(a).max()                        # one set of weights; the edge form rounds its inputs
