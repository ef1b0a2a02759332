"""Optimizers by name, over parameter groups by rule: multiplier, layer depth, weight decay.

AdamW's weight decay is decoupled: a step subtracts rate x decay x parameter. SGD's is the L2
penalty of torch and detectron2: decay x parameter is added to the gradient and so goes through the
momentum, which makes the same number about 1 / (1 - momentum) times as strong.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import nn

from backbones.contract import Backbone, ParameterRule
from mimdet_cli.recipe.schema import Optimizer

NORMS = (nn.LayerNorm, nn.GroupNorm, nn.modules.batchnorm._BatchNorm)
OF_THE_TASK: Final = ParameterRule("{rest}")
"""How the head learns, and what no rule of the backbone names."""

Groups = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class UpdateRule:
    """How an optimizer is made, and how many numbers it keeps at most per learning parameter."""

    build: Callable[[Groups, Optimizer], torch.optim.Optimizer]
    moments: int


def _adamw(groups: Groups, options: Optimizer) -> torch.optim.Optimizer:
    return torch.optim.AdamW(groups, betas=options.betas, eps=options.eps, fused=True)


def _sgd(groups: Groups, options: Optimizer) -> torch.optim.Optimizer:
    """Not fused: torch's fused kernel fails where a parameter gets its first gradient late.

    It also fills the momentum in steps that the loss scale skips.
    """
    return torch.optim.SGD(groups, momentum=options.momentum)


OPTIMIZERS: Final[Mapping[str, UpdateRule]] = {
    "adamw": UpdateRule(_adamw, moments=2),
    "sgd": UpdateRule(_sgd, moments=1),
}


@dataclass(frozen=True, slots=True)
class Rate:
    """How one trainable parameter learns: factor on the learning rate, and its weight decay."""

    name: str
    factor: float
    weight_decay: float


def rates(detector: nn.Module, optimizer: Optimizer) -> list[Rate]:
    """The rate of every trainable parameter of `detector`, in its order."""
    backbone = detector.get_submodule("backbone")
    assert isinstance(backbone, Backbone)
    norms = set(_norm_parameters(detector))
    found = []
    for name, parameter in detector.named_parameters():
        if not parameter.requires_grad:
            continue
        inner = name.removeprefix("backbone.")
        rule = _rule(backbone, inner) if inner != name else OF_THE_TASK
        depth = backbone.depth_of(inner) if inner != name else backbone.depth
        decayed = rule.decay
        if decayed is None:
            decayed = _decayed(optimizer.no_decay, name, parameter, name in norms)
        factor = {"task": optimizer.multiplier, "plain": 1.0}.get(
            rule.rate, 1 / optimizer.multiplier
        ) * optimizer.layer_decay ** (backbone.depth - depth)
        found.append(Rate(name, factor, optimizer.weight_decay if decayed else 0.0))
    return found


def build_optimizer(detector: nn.Module, optimizer: Optimizer, lr: float) -> torch.optim.Optimizer:
    """The recipe's optimizer over groups of equal rate; each keeps its `factor`, names included."""
    parameters = dict(detector.named_parameters())
    groups: dict[tuple[float, float], list[str]] = {}
    for rate in rates(detector, optimizer):
        groups.setdefault((rate.factor, rate.weight_decay), []).append(rate.name)
    return OPTIMIZERS[optimizer.name].build(
        [
            {
                "params": [(name, parameters[name]) for name in names],
                "lr": lr * factor,
                "factor": factor,
                "weight_decay": decay,
            }
            for (factor, decay), names in groups.items()
        ],
        optimizer,
    )


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Give every group `lr` times its factor."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group["factor"]


def _rule(backbone: Backbone, name: str) -> ParameterRule:
    return next((rule for rule in backbone.parameter_rules if rule.matches(name)), OF_THE_TASK)


def _decayed(policy: str, name: str, parameter: nn.Parameter, in_norm: bool) -> bool:
    if policy == "one_dim":
        return parameter.ndim > 1 and not name.endswith(".bias")
    return policy == "none" or not in_norm


def _norm_parameters(detector: nn.Module) -> Iterator[str]:
    for prefix, module in detector.named_modules():
        if isinstance(module, NORMS):
            yield from (f"{prefix}.{name}" for name, _ in module.named_parameters(recurse=False))
