"""The learning rate as a pure function of the step."""

import math
from dataclasses import dataclass

from mimdet_cli.recipe.schema import Recipe

LR_EXPONENT = {"sqrt": 0.5, "linear": 1.0, "none": 0.0}


def scaled_lr(recipe: Recipe) -> float:
    """`optimizer.lr` scaled from `optimizer.base_batch` to `train.batch`."""
    ratio = recipe.train.batch / recipe.optimizer.base_batch
    return recipe.optimizer.lr * ratio ** LR_EXPONENT[recipe.optimizer.scale]


def total_steps(recipe: Recipe, train_images: int) -> int:
    """Optimizer steps of the run; the number of images seen does not depend on the batch."""
    if recipe.train.steps is not None:
        return recipe.train.steps
    assert recipe.train.epochs is not None
    images = recipe.train.epochs * (recipe.train.epoch_images or train_images)
    return max(1, round(images / recipe.train.batch))


@dataclass(frozen=True, slots=True)
class Schedule:
    """Linear warm-up into steps or half a cosine, as fvcore composes them.

    `warmup` is in steps and may be fractional. The warm-up ends at the schedule's value there, so a
    cosine continues without a jump.
    """

    steps: int
    warmup: float
    warmup_factor: float
    milestones: tuple[int, ...] | None
    gamma: float

    @classmethod
    def of(cls, recipe: Recipe, steps: int) -> "Schedule":
        """The recipe's schedule over a run of `steps`."""
        optimizer = recipe.optimizer
        milestones = tuple(round(share * steps) for share in sorted(optimizer.milestones))
        return cls(
            steps=steps,
            warmup=min(optimizer.warmup_images / recipe.train.batch, steps / 2),
            warmup_factor=optimizer.warmup_factor,
            milestones=milestones if optimizer.schedule == "steps" else None,
            gamma=optimizer.gamma,
        )

    def __call__(self, step: float) -> float:
        """Factor on the learning rate at `step`, counted from 0."""
        if step < self.warmup:
            start = self.warmup_factor * self._after_warmup(0)
            end = self._after_warmup(self.warmup)
            return start + (end - start) * step / self.warmup
        return self._after_warmup(step)

    def _after_warmup(self, step: float) -> float:
        if self.milestones is None:
            return 0.5 * (1 + math.cos(math.pi * step / self.steps))
        return self.gamma ** sum(step >= milestone for milestone in self.milestones)
