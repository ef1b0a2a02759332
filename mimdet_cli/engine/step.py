"""One optimizer step: forward, backward, clip, update, in the recipe's precision."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from backbones.contract import Backbone
from heads.mask_rcnn import canvas
from mimdet_cli.data.batch import Batch
from mimdet_cli.engine.freeze import to_training_mode
from mimdet_cli.engine.optim import set_lr
from mimdet_cli.engine.schedule import Schedule
from mimdet_cli.engine.state import TrainState
from mimdet_cli.errors import DivergedError
from mimdet_cli.seeding import seed_step

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True, slots=True)
class StepReport:
    """What one step did: its losses, learning rate, gradient norm (None unless clipped).

    `tokens` are (seen by the encoder, in all), None where the backbone sees all.
    """

    step: int
    images: int
    tokens: tuple[int, int] | None
    losses: dict[str, float]
    lr: float
    grad_norm: float | None

    @property
    def loss(self) -> float:
        """Sum of the losses, which is what was minimised."""
        return sum(self.losses.values())


@dataclass(frozen=True, slots=True)
class Step:
    """Callable that trains on the micro-batches of one step."""

    device: torch.device
    precision: str
    lr: float
    schedule: Schedule
    clip: float | None
    seed: int

    def __call__(self, state: TrainState, parts: Sequence[Batch]) -> StepReport:
        """Update `state` from `parts`, the micro-batches whose gradients are averaged."""
        seed_step(self.seed, state.step)
        lr = self.lr * self.schedule(state.step)
        set_lr(state.optimizer, lr)
        to_training_mode(state.model)
        totals: dict[str, Tensor] = {}
        tokens: list[tuple[int, int]] = []
        for part in parts:
            losses = self._losses(state, part)
            loss = torch.stack(list(losses.values())).sum()
            if not torch.isfinite(loss):
                shown = ", ".join(f"{name} {value.item():.3g}" for name, value in losses.items())
                raise diverged(f"the loss ({shown}) is", state.step, [part])
            torch.autograd.backward(state.scaler.scale(loss / len(parts)))
            if (seen := tokens_seen(state.model, part)) is not None:
                tokens.append(seen)
            for name, value in losses.items():
                totals[name] = totals.get(name, 0.0) + value.detach() / len(parts)
        norm = self._update(state, parts)
        state.step += 1
        values = torch.stack(list(totals.values())).tolist()  # one copy from the device
        return StepReport(
            step=state.step,
            images=sum(len(part) for part in parts),
            tokens=total(tokens),
            losses=dict(zip(totals, values, strict=True)),
            lr=lr,
            grad_norm=norm,
        )

    def _losses(self, state: TrainState, part: Batch) -> dict[str, Tensor]:
        batch = part.to(self.device)
        with torch.autocast(
            self.device.type, DTYPES[self.precision], enabled=self.precision != "fp32"
        ):
            try:
                return state.model(batch.images, batch.targets)
            except FloatingPointError as error:  # the proposals, before there is a loss
                raise diverged("the region proposals are", state.step, [part]) from error

    def _update(self, state: TrainState, parts: Sequence[Batch]) -> float | None:
        norm = None
        if self.clip is not None:
            state.scaler.unscale_(state.optimizer)
            norm = float(torch.nn.utils.clip_grad_norm_(state.model.parameters(), self.clip))
            # fp16's loss scale finds its size by starting from infinite gradients
            if not (math.isfinite(norm) or state.scaler.is_enabled()):
                raise diverged(f"the gradient norm ({norm}) is", state.step, parts)
        state.scaler.step(state.optimizer)
        state.scaler.update()
        state.optimizer.zero_grad(set_to_none=True)
        return norm


def tokens_seen(model: nn.Module, part: Batch) -> tuple[int, int] | None:
    """Tokens that the backbone sees of all images of `part`, and how many there are."""
    backbone = model.get_submodule("backbone")
    assert isinstance(backbone, Backbone)
    seen = backbone.tokens_seen(*canvas(part.sizes, backbone.padding))
    return None if seen is None else (len(part) * seen[0], len(part) * seen[1])


def total(tokens: Sequence[tuple[int, int]]) -> tuple[int, int] | None:
    """Sums of (seen, in all); None if there are none."""
    return (sum(seen for seen, _ in tokens), sum(count for _, count in tokens)) if tokens else None


def diverged(what: str, step: int, parts: Sequence[Batch]) -> DivergedError:
    """The error of a step (counted from 0) whose `parts` gave numbers that are not finite."""
    ids = ", ".join(str(image_id) for part in parts for image_id in part.image_ids)
    return DivergedError(
        f"{what} not finite at step {step + 1}: training has diverged.",
        where=f"image ids {ids}",
        fix="lower `optimizer.lr`, raise `optimizer.warmup_images`, set `train.clip=1`, "
        "or use `train.precision=bf16` instead of fp16.",
    )
