"""What a network can be trained for: one module a task, all with the same face.

    NAME, CLASSES, IN_CHANNELS, WINDOW        class names by index; samples of a window's side
    load_split(split, root, limit)            samples, as stored; one sentence when something is missing or wrong
    Sampler(samples, size, seed, plain)       .batch(n) -> pixels [n,C,S,S] float32, classes [n,S,S] int64,
                                              weights [n,S,S] float32 (they multiply the cross-entropy)
    DATA_OPTIONS                              what of a config's [data] load_split takes, by name
    SAMPLER_OPTIONS                           what else of a config's [train] the Sampler takes, by name
    QuickValidation(samples, size)            (model_fn) -> {"dice": headline, ...}; model_fn: [n,C,S,S] -> logits [n,K,S,S]
    evaluate(run, samples, progress, window)  {"images": n, "dice": headline, ..., "perImage": rows}, at the stored resolution
    MODALITY, domain_pictures(sample)         DICOM's code; what domain_statistics.py reads of a sample
    SCORES, PARTS                             the scores' headings; the key of `evaluate` that holds the same for each part
    SETS, FIRST_SET                           of a task with several sets: all, and the one package.py puts first
    DATASET, PACKAGE, LICENSE, golden_input   what package.py writes beside the weights
"""
from __future__ import annotations

import importlib

NAMES = ("nuclei", "hippocampus")


def load(name):
    if name not in NAMES:
        raise ValueError(f'no task is called "{name}"; there are {", ".join(NAMES)}')
    return importlib.import_module(f"tasks.{name}")


def name_of(config):
    """A config's task. Checkpoints from before there were two hold no [data] section: nuclei."""
    return config.get("data", {}).get("task", "nuclei")


def data_options(task, config):
    """What load_split takes of a config, or of the config in a checkpoint."""
    return {k: v for k, v in config.get("data", {}).items() if k in task.DATA_OPTIONS}
