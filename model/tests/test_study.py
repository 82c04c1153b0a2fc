import copy
import json
import tomllib

import numpy as np
import pytest
import torch

import study
import study_report
from packed import packed_size
from swin_unet import SwinUnet, SwinUnetConfig
from test_tasks import MODEL, launch, write_hippocampus

CONFIG = tomllib.loads((MODEL / "configs" / "study.toml").read_text())
TINY = """
task = "hippocampus"
base = "BASE"
[budget.tiny]
width = 24
heads = [1, 2, 4, 8]
steps = 2
recover_steps = 4
batch = 2
learning_rate = 1e-3
seeds = [1]
more_seeds = []
[recipe]
warmup_steps = 1
decay_share = 0.5
weight_decay = 0.05
betas = [0.9, 0.98]
clip = 1.0
ema = 0.9
class_weights = [1.0, 2.0, 2.0]
plain_share = 0.4
recover_rate = 0.4
[[architecture]]
name = "ours"
label = "ours"
model = {}
[plain_base]
model = {}
longer = 2
[[plain]]
name = "plain-fp32"
label = "fp32"
steps = []
[[plain]]
name = "plain-one-bit-fixed"
label = "1-bit everywhere, BS-Fixed"
steps = [{ method = "one_bit", rule = "fixed" }, "train"]
[[compression]]
name = "all-at-once"
label = "pruned, shrunk, 4 bits"
steps = [{ mask = 0.5 }, "train", { shrink = 0.5, heads = 0.0 }, { method = "fake_quant", scale = "learned" }, { train = "distill" }]
"""


def test_a_study_goes_on_where_it_stopped(tmp_path, monkeypatch):
    write_hippocampus(tmp_path)
    monkeypatch.setenv("TILEWRIGHT_HIPPOCAMPUS_DATA", str(tmp_path))
    config, out = tmp_path / "study.toml", tmp_path / "out"
    torch.manual_seed(0)
    model = {**CONFIG["architecture"][1]["model"], "image_size": 128, "attention_window": 4, "width": 24, "heads": [1, 2, 4, 8], "classes": 3}
    torch.save({"config": {"data": {"task": "hippocampus"}, "model": model}, "ema": SwinUnet(SwinUnetConfig(**model)).state_dict(), "step": 0},
               tmp_path / "base.pt")
    tiny = TINY.replace("BASE", str(tmp_path / "base.pt"))
    config.write_text(tiny)
    args = ("study.py", config, "--out", out, "--budget", "tiny", "--report-to", tmp_path, "--shipped")
    code, said, error = launch(*args)
    assert code == 0 and "0 rows are there, 4 to run" in said, said + error
    (out / "rows" / "compression-all-at-once-1.json").unlink()                # as if it had been interrupted there
    (tmp_path / "study.json").unlink()
    assert "3 rows are there, 1 to run" in launch(*args)[1]
    assert "4 rows are there, 0 to run" in launch(*args)[1]
    rows = json.loads((tmp_path / "study.json").read_text())["rows"]
    small, base, plain, one_bit = rows
    assert plain["trainedSteps"] == 4 and plain["ratio"] == 1 and one_bit["ratio"] > 8 and len(list((out / "networks").iterdir())) == 1
    assert small["parameters"] < 0.85 * base["parameters"] and small["ratio"] > 8 and small["bitsPerWeight"] < 4.6
    assert "| pruned, shrunk, 4 bits |" in (tmp_path / "STUDY.md").read_text()
    for file in (out / "rows").glob("*.json"):
        file.unlink()
    assert "4 rows are there, 0 to run" in launch(*args)[1]                    # from study.json
    config.write_text(tiny.replace("steps = 2", "steps = 3", 1))                 # another budget: other rows
    assert "0 rows are there" in launch(*args)[1]


def test_spreads_run_last():
    todo = study.plan(CONFIG, CONFIG["budget"]["cpu"], [])
    seeds = [s for _, _, s in todo]
    assert seeds == sorted(seeds) and {r["name"] for _, r, s in todo if s > 1} == {
        r["name"] for r in CONFIG["architecture"] + CONFIG["compression"] if r.get("spread")}


def test_every_row_of_the_config_can_be_built():
    budget = CONFIG["budget"]["cpu"]
    from tasks import hippocampus
    names = [r["name"] for kind in ("architecture", "compression", "plain") for r in CONFIG[kind]]
    assert len(set(names)) == len(names)
    for row in CONFIG["architecture"]:
        if "baseline" in row:
            pytest.importorskip("monai")
        assert study.architecture(row, budget, hippocampus)(torch.zeros(1, 3, 128, 128)).shape == (1, 3, 128, 128)


@pytest.mark.parametrize("row", CONFIG["shipped"], ids=lambda row: row["name"])
def test_rows_without_training_end_with_plain_weights_and_a_size(row):
    start = SwinUnet(SwinUnetConfig(image_size=64, in_channels=3, classes=3, width=8, heads=[1, 1, 2, 2], attention_window=2, drop_path=0.0)).eval()
    model, packed = study.run_steps(copy.deepcopy(start), row["steps"], None, {})
    size = packed_size(model, packed, np.float32)
    assert size["raw_bytes"] < packed_size(start, {}, np.float32)["raw_bytes"] if row["steps"] else not packed
    x = torch.rand(1, 3, 64, 64)
    assert torch.equal(model(x), start(x)) == (not row["steps"])


def test_a_label_changes_no_fingerprint_and_a_budget_does():
    budget, row = CONFIG["budget"]["cpu"], CONFIG["compression"][0]
    same = study.fingerprint(CONFIG, "compression", row, budget)
    assert study.fingerprint(CONFIG, "compression", {**row, "label": "other"}, budget) == same
    assert study.fingerprint(CONFIG, "compression", row, {**budget, "more_seeds": [9]}) == same
    assert study.fingerprint(CONFIG, "compression", row, {**budget, "steps": 1}) != same


def row(name, dice, seed=1, kind="compression", ratio=6.0):
    return {"kind": kind, "name": name, "seed": seed, "label": f"x, {name}", "dice": dice, "ratio": ratio}


def test_claims_follow_the_numbers():
    arch = [row("ours", 0.8, kind="architecture"), *(row(n, d, s, "architecture") for n, d in (("expand", 0.80), ("bilinear", 0.78), ("transposed", 0.79))
                                                      for s in (1, 2))]
    rows = [*arch, row("fp32", 0.8), row("fp32-more", 0.8), row("qat-row", 0.796, ratio=7.5), row("rtn-32", 0.79), row("prune-50-blind", 0.8, ratio=1.8),
            row("one-bit-fixed", 0.1), row("attention-fixed", 0.75)]
    said = study_report.claims(rows).split("\n")
    assert [s.split("** ")[1].split(":")[0].split(",")[0] for s in said] == ["Confirmed"] * 5
    worse = [r | {"dice": 0.5} if r["name"] in ("qat-row", "attention-fixed") else r | {"dice": 0.79} if r["name"] == "one-bit-fixed" else r for r in rows]
    said = study_report.claims(worse).split("\n")
    assert ["Refuted" in said[i] for i in (0, 2, 3)] == [True] * 3
    close = [r | {"dice": r["dice"] + 0.05 * (r["seed"] - 1)} if r["kind"] == "architecture" else r for r in rows]
    assert "Not decided" in study_report.claims(close).split("\n")[4]
    once = [r for r in rows if r["seed"] == 1]
    apart = [r | {"dice": 0.3} if r["name"] == "transposed" else r | {"dice": 0.9} if r["name"] == "bilinear" else r for r in once]
    assert "Not decided" in study_report.claims(apart).split("\n")[4]
    assert "Not measured on a plain" in study_report.claims(rows).split("\n")[2]
    plain = [row(f"plain-{n}", d, kind="plain") for n, d in (("fp32", 0.6), ("fp32-more", 0.7), ("one-bit-fixed", 0.2), ("attention-flexible", 0.65))]
    said = study_report.claims(rows + plain).split("\n")
    assert "On a plain Swin-Unet without convolutions: confirmed, by the thresholds of the paper: plain-one-bit-fixed 28.6 %" in said[2]
    assert "convolutions: confirmed" in said[3] and study_report.claims(worse + plain).split("\n")[2].count("efuted") == 1
    assert study_report.claims([]).count("Not measured yet.") == 5
