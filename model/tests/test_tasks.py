import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import imageio.v3 as iio
import nibabel as nib
import numpy as np
import pytest
import torch

import package
import tasks
from swin_unet import SwinUnet, SwinUnetConfig
from tasks import hippocampus as H
from tasks import nuclei as N

MODEL = Path(__file__).parent.parent
LOGIT = 20.0


def made_labels():
    """[Z, H, W] uint8: an anterior and a posterior ball that do not touch."""
    z, y, x = np.mgrid[:10, :50, :36]
    out = np.zeros(z.shape, np.uint8)
    out[((z - 5) * 1.5) ** 2 + (y - 36) ** 2 + (x - 16) ** 2 < 64] = 1
    out[((z - 5) * 1.5) ** 2 + (y - 14) ** 2 + (x - 20) ** 2 < 64] = 2
    return out


def made_sample(mm=1.0, noise=0.0):
    """Anterior black, posterior white, the rest halfway: what is fed is -1, 1 and 0."""
    labels = made_labels()
    pixels = np.array([500.0, 0.0, 1000.0], np.float32)[labels]
    pixels += np.random.default_rng(0).normal(0, noise, labels.shape).astype(np.float32)
    return H.Sample("made", (1.0, mm, mm), pixels, labels)


def truth_from_pixels(x):
    """Logits whose softmax is the share of each class in every sample of a made volume."""
    v = np.asarray(x)[:, 1]
    shares = np.stack([1 - np.abs(v), np.maximum(-v, 0), np.maximum(v, 0)], 1)
    return np.log(np.maximum(shares, 1e-9))


def write_volume(path, array, mm=(1, 1, 1)):
    path.parent.mkdir(exist_ok=True)
    image = nib.Nifti1Image(np.ascontiguousarray(array.transpose(2, 1, 0)), np.diag([*mm, 1]))
    nib.save(image, path)


def write_hippocampus(root, splits=("train", "val")):
    s = made_sample(noise=60)
    with open(root / "split.csv", "w", newline="") as f:
        w = csv.writer(f)
        w.writerow(["file", "split"])
        for split in splits:
            w.writerow([f"{split}.nii.gz", split])
            write_volume(root / "images" / f"{split}.nii.gz", s.pixels)
            write_volume(root / "labels" / f"{split}.nii.gz", s.classes)
    return root


def write_nuclei(root):
    labels = np.zeros((64, 64), np.uint16)
    labels[10:30, 10:30] = 1
    labels[35:55, 30:55] = 2
    pixels = np.repeat((labels > 0)[..., None] * np.uint8(150) + np.uint8(20), 3, -1)
    with open(root / "split.csv", "w", newline="") as f:
        w = csv.writer(f)
        w.writerow(["id", "kind", "height", "width", "group", "split"])
        for split in ("train", "val"):
            w.writerow([split, "fluo", 64, 64, split, split])
            for folder, array in (("images", pixels), ("labels", labels)):
                (root / folder).mkdir(exist_ok=True)
                iio.imwrite(root / folder / f"{split}.png", array)
    return root


# Both tasks ---------------------------------------------------------------------------------------------------------------------

def test_an_unknown_task_names_the_known_ones():
    with pytest.raises(ValueError, match='no task is called "liver"; there are nuclei, hippocampus'):
        tasks.load("liver")
    assert tasks.load("nuclei") is N and tasks.load("hippocampus") is H


def test_a_config_without_a_data_section_is_nuclei():
    assert tasks.name_of({"model": {}}) == "nuclei"
    assert tasks.name_of({"data": {"task": "hippocampus"}}) == "hippocampus"


@pytest.mark.parametrize("task,write,variable", [(N, write_nuclei, "TILEWRIGHT_NUCLEI_DATA"),
                                                 (H, write_hippocampus, "TILEWRIGHT_HIPPOCAMPUS_DATA")])
def test_splits_are_read_and_what_is_missing_is_said(task, write, variable, tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match=f"no split.csv in .* with --data or {variable}"):
        task.load_split("val", tmp_path / "nowhere")
    write(tmp_path)
    with pytest.raises(ValueError, match='in the split "test"'):
        task.load_split("test", tmp_path)
    monkeypatch.setenv(variable, str(tmp_path))
    assert len(task.load_split("val")) == 1
    next((tmp_path / "labels").glob("val.*")).unlink()
    with pytest.raises(FileNotFoundError, match="labels/val"):
        task.load_split("val")


@pytest.mark.parametrize("task,write", [(N, write_nuclei), (H, write_hippocampus)])
def test_every_task_has_the_face_train_and_package_use(task, write, tmp_path):
    samples = task.load_split("train", write(tmp_path))
    sampler = task.Sampler(samples, task.WINDOW, seed=[1, 2, 3], plain=0.5)
    assert sampler.plain == 0.5
    pixels, classes, weights = sampler.batch(3)
    S = task.WINDOW
    assert pixels.shape == (3, task.IN_CHANNELS, S, S) and pixels.dtype == torch.float32
    assert classes.shape == weights.shape == (3, S, S) and classes.dtype == torch.int64 and weights.dtype == torch.float32
    assert pixels.min() >= -1 and pixels.max() <= 1 and 0 <= classes.min() and classes.max() < len(task.CLASSES)
    assert [c["name"] for c in task.PACKAGE["classes"]] == task.CLASSES
    golden = task.golden_input(S)
    assert golden.shape == (1, S, S, task.IN_CHANNELS) and golden.dtype == np.uint8 and golden.std() > 10
    assert np.array_equal(golden, task.golden_input(S))


@pytest.mark.parametrize("task,sample", [(N, None), (H, made_sample())])
def test_the_quick_validation_starts_with_dice_and_tells_truth_from_nothing(task, sample, tmp_path):
    samples = [sample] if sample else task.load_split("val", write_nuclei(tmp_path))
    check = task.QuickValidation(samples, task.WINDOW)
    nothing = check(lambda x: torch.eye(3)[0].view(1, 3, 1, 1).expand(len(x), 3, *x.shape[2:]))
    assert list(nothing)[0] == "dice" and nothing["dice"] == 0
    if task is H:
        right = check(lambda x: torch.from_numpy(truth_from_pixels(x)))
        assert right["dice"] > 0.99 and right["anterior"] > 0.99 and right["posterior"] > 0.99


# Nuclei -------------------------------------------------------------------------------------------------------------------------

def test_nuclei_evaluated_with_the_truth_is_perfect(tmp_path):
    (s,) = N.load_split("val", write_nuclei(tmp_path))
    s.mpp = N.MODEL_MPP                                     # no resampling: nothing may be lost
    truth = N.targets_from_instances(s.instances)

    def run(x):
        assert x.shape[1:] == (3, 224, 224)
        pad = (224 - 64) // 2
        return np.repeat(LOGIT * np.eye(3, dtype=np.float32)[np.pad(truth, pad, "reflect")].transpose(2, 0, 1)[None], len(x), 0)

    got = N.evaluate(run, [s])
    assert list(got)[:2] == ["images", "dice"] and got["images"] == 1
    assert got["dice"] == got["f1At50"] == got["kinds"]["fluorescence"]["dice"] == 1 and got["hd95"] == 0


def test_a_label_map_of_another_shape_is_refused(tmp_path):
    write_nuclei(tmp_path)
    iio.imwrite(tmp_path / "labels" / "val.png", np.zeros((10, 64), np.uint16))
    with pytest.raises(ValueError, match=r"val.png is \(10, 64\), its picture is \(64, 64\)"):
        N.load_split("val", tmp_path)


# Hippocampus --------------------------------------------------------------------------------------------------------------------

def test_a_volume_is_read_as_slices_of_rows_and_columns(tmp_path):
    s = made_sample()
    write_volume(tmp_path / "images" / "a.nii.gz", s.pixels, (1, 2, 3))
    pixels, spacing = H.read_volume(tmp_path / "images" / "a.nii.gz")
    assert np.array_equal(pixels, s.pixels) and spacing == (3, 2, 1)            # z, y, x


@pytest.mark.parametrize("gain,offset", [(4000.0, 0.0), (0.001, 7.0), (1.0, -300.0)])
def test_normalising_forgets_gain_and_offset(gain, offset):
    s = made_sample(noise=60)
    other = H.Sample("other", s.spacing, s.pixels * np.float32(gain) + np.float32(offset), s.classes)
    assert torch.allclose(H.model_volume(s), H.model_volume(other), atol=2e-3)


def test_a_flat_volume_stays_finite():
    flat = H.Sample("flat", (1, 1, 1), np.full((3, 8, 8), 5, np.float32), np.zeros((3, 8, 8), np.uint8))
    assert torch.isfinite(H.model_volume(flat)).all()


@pytest.mark.parametrize("h,w", [(100, 72), (51, 35), (20, 9)])
def test_resampling_labels_gains_no_class(h, w):
    labels = made_labels()
    labels[labels == 1] = 0
    labels[:, :, :9] = 2                                    # 0 beside 2: interpolated numbers would pass 1
    got = H.classes_to_size(labels, h, w)
    assert got.dtype == torch.uint8 and set(got.unique().tolist()) == {0, 2}
    for values in (0, 1, 2):
        assert (H.classes_to_size(np.full_like(labels, values), h, w) == values).all()


def test_cutting_at_odd_angles_gains_no_class():
    labels = torch.zeros(60, 40, dtype=torch.uint8)
    labels[:, 20:] = 2
    rng = np.random.default_rng(0)
    for _ in range(20):
        _, got, _ = H.cut(torch.zeros(3, 60, 40).half(), labels, *H.crop_coordinates(rng, 60, 40, 64))
        assert set(got.unique().tolist()) <= {0, 2}


def test_neighbours_come_in_order_and_edges_repeat():
    x = torch.arange(4.0).view(4, 1, 1).expand(4, 2, 2)
    assert H.neighbours(x, 2)[:, 0, 0].tolist() == [1, 2, 3]
    assert H.neighbours(x, 0)[:, 0, 0].tolist() == [0, 0, 1]
    assert H.neighbours(x, 3)[:, 0, 0].tolist() == [2, 3, 3]
    assert H.neighbours(x[:1], 0)[:, 0, 0].tolist() == [0, 0, 0]
    assert H.neighbours(x.numpy(), 1)[:, 0, 0].tolist() == [0, 1, 2]            # arrays as tensors


def test_a_cut_without_change_is_the_padding_of_inference():
    x = torch.arange(3 * 20 * 12, dtype=torch.float32).view(3, 20, 12)
    labels = (torch.arange(240) % 3).view(20, 12).to(torch.uint8)
    yy, xx = torch.meshgrid(torch.arange(32) - 6.0, torch.arange(32) - 10.0, indexing="ij")
    got, classes, inside = H.cut(x, labels, yy, xx)
    np.testing.assert_allclose(got, H.fit_window(x.numpy(), 32), atol=2e-3)
    assert np.array_equal(classes, H.fit_window(labels.numpy()[None], 32)[0])
    assert np.array_equal(~inside, H.fit_window(labels.numpy()[None], 32, H.OUTSIDE)[0] == H.OUTSIDE)


def test_crops_never_swap_anterior_and_posterior():
    sampler = H.Sampler([made_sample()], seed=3)
    rows = torch.arange(H.WINDOW).view(-1, 1).float()
    seen = 0
    for _ in range(30):
        _, classes, weights = sampler.crop()
        one, two = ((classes == k) & (weights > 0) for k in (1, 2))
        if one.any() and two.any():
            seen += 1
            assert (rows * one).sum() / one.sum() > (rows * two).sum() / two.sum()
    assert seen > 15


def test_the_same_seed_gives_the_same_crops():
    a, b = (H.Sampler([made_sample(noise=60)], seed=[1, 2]).batch(4) for _ in range(2))
    assert all(torch.equal(x, y) for x, y in zip(a, b))


def test_evaluating_with_the_truth_on_the_models_own_grid_is_perfect():
    got = H.evaluate(truth_from_pixels, [made_sample(mm=H.MODEL_MM)])
    assert list(got)[:2] == ["images", "dice"]
    assert got["images"] == 1 and got["dice"] == got["iou"] == 1 and got["hd95"] == 0
    assert got["structures"]["anterior"]["dice"] == got["perImage"][0]["structures"]["posterior"]["dice"] == 1


def test_evaluating_with_the_truth_through_resampling_loses_only_corners():
    # to 0.5 mm and back smooths a mask: a voxel that sticks out of its surface alone is outvoted by its neighbours
    got = H.evaluate(truth_from_pixels, [made_sample(mm=1.0)])
    assert got["dice"] > 0.99 and got["hd95"] <= 1


def test_evaluating_covers_slices_larger_than_the_window():
    s = made_sample(mm=H.MODEL_MM)
    s.pixels, s.classes = (a[::4].repeat(4, 1).repeat(4, 2) for a in (s.pixels, s.classes))         # [3, 200, 144]
    assert H.evaluate(truth_from_pixels, [s])["dice"] == 1


def test_scores_of_a_missed_part():
    s = made_sample()
    row = H.score(s, np.where(s.classes == 1, 1, 0).astype(np.uint8))
    assert row["structures"]["anterior"]["dice"] == 1 and row["structures"]["posterior"]["dice"] == 0 and row["dice"] == 0.5
    assert row["hd95"] == np.inf
    absent = H.Sample("absent", s.spacing, s.pixels, np.where(s.classes == 1, 1, 0).astype(np.uint8))
    assert H.score(absent, absent.classes)["dice"] == 1      # a part neither side has says nothing


@pytest.mark.parametrize("wrong,sentence", [
    (lambda a: np.where(a == 2, 7, a).astype(np.uint8), r"labels/val.nii.gz holds the classes \[0.0, 1.0, 7.0\]; expected 0 to 2"),
    (lambda a: a * np.float32(0.5), r"holds the classes \[0.0, 0.5, 1.0\]"),
    (lambda a: a[:-1], r"labels/val.nii.gz is \(9, 50, 36\), its volume is \(10, 50, 36\)")])
def test_wrong_label_volumes_are_refused(wrong, sentence, tmp_path):
    write_hippocampus(tmp_path)
    write_volume(tmp_path / "labels" / "val.nii.gz", wrong(made_labels()))
    with pytest.raises(ValueError, match=sentence):
        H.load_split("val", tmp_path)


def test_wrong_volumes_are_refused(tmp_path):
    write_hippocampus(tmp_path)
    pixels = made_sample().pixels
    pixels[0, 0, :2] = np.nan
    write_volume(tmp_path / "images" / "val.nii.gz", pixels)
    with pytest.raises(ValueError, match="images/val.nii.gz holds 2 samples that are not finite"):
        H.load_split("val", tmp_path)
    nib.save(nib.Nifti1Image(np.zeros((4, 4, 4, 2), np.float32), np.eye(4)), tmp_path / "images" / "val.nii.gz")
    with pytest.raises(ValueError, match="has 4 axes"):
        H.load_split("val", tmp_path)
    (tmp_path / "images" / "val.nii.gz").write_bytes(b"not gzip")
    with pytest.raises(ValueError, match="is not a NIfTI file"):
        H.load_split("val", tmp_path)


# Training, as it is launched ----------------------------------------------------------------------------------------------------

TINY = {"hippocampus": dict(image_size=32, in_channels=3, classes=3, width=24, depths=[1, 1, 1, 1], heads=[1, 2, 4, 8],
                            attention_window=1, drop_path=0.0)}
TINY["nuclei"] = TINY["hippocampus"]


def write_config(path, task, **model):
    values = {"model": TINY["nuclei"] | model, "train": dict(
        batch=2, learning_rate=1e-3, weight_decay=0.05, betas=[0.9, 0.98], clip=1.0, warmup_steps=1, decay_steps=2, ema=0.9,
        class_weights=[1.0, 1.0, 1.0], plain_share=0.5, decay_plain_share=0.5, precision="bf16", channels_last=False, compile=False, seed=1,
        checkpoint_minutes=10, validate_minutes=10)}
    if task:
        values = {"data": {"task": task}} | values
    path.write_text("\n".join(f"[{section}]\n" + "\n".join(f"{k} = {json.dumps(v)}" for k, v in entries.items())
                              for section, entries in values.items()))
    return path


def launch(script, *args):
    done = subprocess.run([sys.executable, str(MODEL / script), *map(str, args)], capture_output=True, text=True,
                          env=os.environ | {"OMP_NUM_THREADS": "1"}, timeout=240)
    return done.returncode, done.stdout, done.stderr


def train(*args):
    return launch("train.py", *args, "--threads", 1, "--device", "cpu")


def old_checkpoint(path, **extra):
    """As train.py wrote them before there were tasks: no [data] section."""
    model = SwinUnet(SwinUnetConfig(**TINY["nuclei"]))
    torch.save({"config": {"model": TINY["nuclei"], "train": {}}, "ema": model.state_dict(), "step": 5, "minutes": 1.0} | extra, path)
    return path


@pytest.mark.parametrize("task,write", [("nuclei", write_nuclei), ("hippocampus", write_hippocampus)])
def test_training_resumes_and_keeps_the_better_weights(task, write, tmp_path):
    (tmp_path / "data").mkdir()
    config, data, out = write_config(tmp_path / "c.toml", task), write(tmp_path / "data"), tmp_path / "run"
    code, said, error = train(config, "--out", out, "--data", data, "--steps", 2)
    assert code == 0, error
    last = torch.load(out / "last.pt", weights_only=True)
    assert sorted(last) == ["best", "config", "decay_from", "ema", "minutes", "model", "optimizer", "step"] and last["step"] == 2
    assert f"{task}: " in said and "val dice" in said
    # a better best.pt than this run can make, by hand: resuming must leave it
    best = torch.load(out / "best.pt", weights_only=True)
    best["quick"] = {k: 2.0 for k in best["quick"]}
    torch.save(best, out / "best.pt")
    kept = (out / "best.pt").read_bytes()
    code, said, error = train(config, "--out", out, "--data", data, "--steps", 3, "--resume")
    assert code == 0 and "stays until a validation beats" in said, error
    assert torch.load(out / "last.pt", weights_only=True)["step"] == 3 and (out / "best.pt").read_bytes() == kept


def test_an_old_checkpoint_is_taken_for_nuclei_and_best_survives(tmp_path):
    (tmp_path / "data").mkdir()
    data, out = write_nuclei(tmp_path / "data"), tmp_path / "run"
    out.mkdir()
    old = old_checkpoint(tmp_path / "old.pt")
    old_checkpoint(out / "best.pt", quick={"dice": 1.5, "f1": 1.0})
    kept = (out / "best.pt").read_bytes()
    code, said, error = train(write_config(tmp_path / "c.toml", None), "--out", out, "--data", data, "--from-checkpoint", old, "--steps", 6)
    assert code == 0 and "resumed" in said, error
    assert torch.load(out / "last.pt", weights_only=True)["step"] == 6 and (out / "best.pt").read_bytes() == kept


@pytest.mark.parametrize("task,model,sentence", [
    ("hippocampus", {}, "was trained for nuclei, the config asks for hippocampus"),
    ("nuclei", {"width": 48}, "another [model] section than the config's: {'width': (24, 48)}"),
    ("nuclei", {"classes": 5}, "asks for 3 channels and 5 classes; nuclei has 3 and 3"),
    ("liver", {}, 'no task is called "liver"')])
def test_a_checkpoint_that_does_not_fit_is_refused_in_one_sentence(task, model, sentence, tmp_path):
    code, _, error = train(write_config(tmp_path / "c.toml", task, **model), "--out", tmp_path / "run",
                           "--from-checkpoint", old_checkpoint(tmp_path / "old.pt"))
    assert code == 1 and sentence in error and "Traceback" not in error


def test_drop_path_and_the_sampling_may_change_on_the_way(tmp_path):
    """Neither has weights: a checkpoint goes on under another rate of dropping, other losses and other shares."""
    (tmp_path / "data").mkdir()
    config = write_config(tmp_path / "c.toml", "nuclei", drop_path=0.5)
    config.write_text(config.read_text() + "\npair_share = 0.4\npicture_share = 0.6\nsharpness = 3.0\ncount_power = 0.35\n"
                      "scale_range = [0.75, 1.35]\nkind_share = { fluo = 0.7 }\n")
    code, said, error = train(config, "--out", tmp_path / "run", "--data", write_nuclei(tmp_path / "data"),
                              "--from-checkpoint", old_checkpoint(tmp_path / "old.pt"), "--steps", 6)
    assert code == 0 and "resumed" in said, error
    saved = torch.load(tmp_path / "run" / "last.pt", weights_only=True)["config"]
    assert saved["model"]["drop_path"] == 0.5 and saved["train"]["kind_share"] == {"fluo": 0.7}


# Packaging ----------------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("size,bands", [(224, 14), (128, 8), (32, 8)])
def test_bands_divide_the_token_rows(size, bands):
    assert package.most_bands(size) == bands


def test_a_hippocampus_package_says_what_it_is(tmp_path):
    torch.manual_seed(0)
    model = SwinUnet(SwinUnetConfig(**TINY["hippocampus"]))
    config = {"data": {"task": "hippocampus"}, "model": TINY["hippocampus"]}
    torch.save({"config": config, "ema": model.state_dict(), "step": 7, "minutes": 0.0}, tmp_path / "best.pt")
    code, _, error = launch("package.py", tmp_path / "best.pt", "--task", "hippocampus", "--no-score", "--out", tmp_path / "out")
    assert code == 0, error
    manifest = json.loads((tmp_path / "out" / "model.json").read_text())
    assert manifest["name"] == "hippocampus" and "objects" not in manifest
    assert manifest["input"]["slices"] == {"axis": "z", "context": 1} and manifest["input"]["channels"] == 3
    assert manifest["input"]["spacing"] == {"y": 0.5, "x": 0.5, "unit": "millimeter"}
    assert manifest["trainingData"][0]["license"] == "CC-BY-SA-4.0"
    assert "Medical Segmentation Decathlon" in (tmp_path / "out" / "LICENSE").read_text()
    for part in ("input", "output"):
        entry = manifest["golden"][part]
        assert (tmp_path / "out" / entry["path"]).stat().st_size == np.prod(entry["shape"])
    code, _, error = launch("package.py", tmp_path / "best.pt", "--task", "nuclei", "--out", tmp_path / "no")
    assert code == 1 and "was trained for hippocampus, not for nuclei" in error
