"""Random numbers as a pure function of the seed and the step, so that nothing need be stored."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


def seed_step(seed: int, step: int) -> None:
    """Seed token sampling, stochastic depth and anchor sampling of one training step."""
    torch.manual_seed((seed * 1_000_003 + step + 1) % 2**63)


def seed_weights(seed: int) -> None:
    """Seed the initial weights."""
    torch.manual_seed(seed)


@contextmanager
def own_random_numbers() -> Iterator[None]:
    """What is seeded and drawn inside leaves the caller's random numbers as they were."""
    with torch.random.fork_rng(range(torch.cuda.device_count())):
        yield
