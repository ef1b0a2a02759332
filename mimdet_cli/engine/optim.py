"""AdamW's parameter groups, by rule: which side of the multiplier, how deep, decayed or not."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn

from backbones.contract import Backbone, ParameterRule
from mimdet_cli.recipe.schema import Optimizer

NORMS = (nn.LayerNorm, nn.GroupNorm, nn.modules.batchnorm._BatchNorm)


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
        rule = _rule(backbone, inner) if inner != name else ParameterRule("")
        depth = backbone.depth_of(inner) if inner != name else backbone.depth
        decayed = rule.decay
        if decayed is None:
            decayed = _decayed(optimizer.no_decay, name, parameter, name in norms)
        factor = {"task": optimizer.multiplier, "plain": 1.0}.get(
            rule.rate, 1 / optimizer.multiplier
        ) * optimizer.layer_decay ** (backbone.depth - depth)
        found.append(Rate(name, factor, optimizer.weight_decay if decayed else 0.0))
    return found


def build_optimizer(detector: nn.Module, optimizer: Optimizer, lr: float) -> torch.optim.AdamW:
    """AdamW over groups of equal rate; each group keeps its `factor`, names included."""
    parameters = dict(detector.named_parameters())
    groups: dict[tuple[float, float], list[str]] = {}
    for rate in rates(detector, optimizer):
        groups.setdefault((rate.factor, rate.weight_decay), []).append(rate.name)
    return torch.optim.AdamW(
        [
            {
                "params": [(name, parameters[name]) for name in names],
                "lr": lr * factor,
                "factor": factor,
                "weight_decay": decay,
            }
            for (factor, decay), names in groups.items()
        ],
        lr=lr,
        betas=optimizer.betas,
        eps=optimizer.eps,
        fused=True,
    )


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Give every group `lr` times its factor."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group["factor"]


def _rule(backbone: Backbone, name: str) -> ParameterRule:
    matching = (rule for rule in backbone.parameter_rules if re.fullmatch(rule.pattern, name))
    return next(matching, ParameterRule(""))


def _decayed(policy: str, name: str, parameter: nn.Parameter, in_norm: bool) -> bool:
    if policy == "one_dim":
        return parameter.ndim > 1 and not name.endswith(".bias")
    return policy == "none" or not in_norm


def _norm_parameters(detector: nn.Module) -> Iterator[str]:
    for prefix, module in detector.named_modules():
        if isinstance(module, NORMS):
            yield from (f"{prefix}.{name}" for name, _ in module.named_parameters(recurse=False))
