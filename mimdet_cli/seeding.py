"""Random state as a pure function of seed and step, so that no generator state is stored."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


def seed_step(seed: int, step: int) -> None:
    """Seed token sampling, stochastic depth and anchor sampling for one training step."""
    torch.manual_seed((seed * 1_000_003 + step + 1) % 2**63)


def seed_weights(seed: int) -> None:
    """Seed weight initialisation."""
    torch.manual_seed(seed)


@contextmanager
def preserve_random_state() -> Iterator[None]:
    """Restore the caller's random state on exit."""
    with torch.random.fork_rng(range(torch.cuda.device_count())):
        yield
