import numpy as np
import torch

from crops import Crops


class Numbers:
    """A sampler whose crops are random numbers and its own share of plain crops."""

    def __init__(self, seed):
        self.rng, self.plain = np.random.default_rng(seed), 0.25

    def batch(self, n):
        return torch.from_numpy(self.rng.random(n)), torch.tensor([self.plain])


def test_without_workers_the_batches_are_the_samplers_own():
    crops, sampler = Crops(Numbers(3), 4), Numbers(3)
    for _ in range(5):
        assert torch.equal(next(crops)[0], sampler.batch(4)[0])


def test_each_worker_has_random_numbers_of_its_own_and_the_same_again():
    def draw(seed):
        crops = Crops(Numbers(3), 4, workers=2, seed=seed)
        return torch.stack([next(crops)[0] for _ in range(8)])
    first = draw([1, 0])
    assert len(first.flatten().unique()) == first.numel()
    assert torch.equal(draw([1, 0]), first) and not torch.equal(draw([1, 9]), first)


def test_the_share_of_plain_crops_reaches_the_sampler():
    for workers in (0, 1):
        crops = Crops(Numbers(3), 4, workers=workers)
        assert next(crops)[1] == 0.25
        crops.set_plain(0.75)
        assert 0.75 in [next(crops)[1].item() for _ in range(20)]              # after the batches that were drawn ahead
