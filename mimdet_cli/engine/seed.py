"""Random numbers as a pure function of the seed and the step, so that nothing need be stored."""

import torch


def seed_step(seed: int, step: int) -> None:
    """Seed token sampling, stochastic depth and anchor sampling of one training step."""
    torch.manual_seed((seed * 1_000_003 + step + 1) % 2**63)


def seed_weights(seed: int) -> None:
    """Seed the initial weights."""
    torch.manual_seed(seed)
