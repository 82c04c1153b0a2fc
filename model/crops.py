"""Batches of random crops for training, drawn in this process or in others beside it.

On a CPU the network takes far longer than its crops. A GPU waits for them, so they are drawn in `workers` processes.
"""
from __future__ import annotations

import multiprocessing

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info


class Crops:
    """Endless batches of `size` crops of a sampler; next() gives its tensors on `device`. `seed`: a list of numbers, from which every
    worker gets random numbers of its own; without workers the sampler's own are used."""

    def __init__(self, sampler, size, device="cpu", workers=0, seed=()):
        self.device, self.plain = torch.device(device), multiprocessing.Value("d", sampler.plain)
        source = Endless(sampler, size, list(seed), self.plain)
        pinned = self.device.type == "cuda"
        # forked: the prepared pictures are shared, not copied
        self.batches = iter(DataLoader(source, batch_size=None, num_workers=workers, pin_memory=pinned, prefetch_factor=4,
                                       multiprocessing_context="fork") if workers else source)

    def set_plain(self, share):
        """The share of crops that keep their colours, of the batches that are drawn from now on."""
        self.plain.value = share

    def __next__(self):
        return tuple(part.to(self.device, non_blocking=True) for part in next(self.batches))


class Endless(IterableDataset):
    def __init__(self, sampler, size, seed, plain):
        self.sampler, self.size, self.seed, self.plain = sampler, size, seed, plain

    def __iter__(self):
        worker = get_worker_info()
        if worker is not None:
            torch.set_num_threads(1)
            self.sampler.rng = np.random.default_rng([*self.seed, worker.id])
        while True:
            self.sampler.plain = self.plain.value
            yield self.sampler.batch(self.size)
