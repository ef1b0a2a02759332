"""The optimizer's state by parameter name: all of it is saved, and all of it must be restored.

A checkpoint holds the tensors as `NAME.ENTRY` (`rpn.conv.weight.exp_avg`), values that are not
tensors under the same names, and which learning parameters had no state because they never had a
gradient. The optimizer itself determines what must be there at resume: the entries that its first
step makes for a parameter. Groups and their rates come from the recipe, not from the checkpoint.
"""

import copy
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mimdet_cli.errors import WeightsError
from mimdet_cli.words import counted, first_of

Plain = None | bool | int | float | str
SHOWN = 3


@dataclass(frozen=True, slots=True)
class OptimizerState:
    """State by `NAME.ENTRY`; `without_state` has the learning parameters that have none.

    It is None in checkpoints that do not say so (up to c73681b), where a parameter without any
    entry counts as one.
    """

    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    values: Mapping[str, Plain] = field(default_factory=dict)
    without_state: Sequence[str] | None = None


@dataclass(frozen=True, slots=True)
class Kept:
    """One entry that an optimizer keeps for a parameter; `like` is None for a plain value."""

    parameter: nn.Parameter
    key: str
    like: tuple[torch.Size, torch.device] | None

    def place(self, stored: Tensor | Plain) -> Tensor | Plain:
        """The stored entry on this optimizer's device, in the parameter's layout if of its shape.

        Fused kernels walk it together with its parameter.
        """
        if not isinstance(stored, Tensor):
            return stored
        if stored.shape == self.parameter.shape:
            return torch.empty_like(self.parameter, dtype=stored.dtype).copy_(stored)
        return stored.to(self.like[1] if self.like else self.parameter.device)


def collect(model: nn.Module, optimizer: torch.optim.Optimizer) -> OptimizerState:
    """All of the optimizer's state."""
    tensors: dict[str, Tensor] = {}
    values: dict[str, Plain] = {}
    without = []
    learning = {name: model.get_parameter(name) for name in _learning(model, optimizer)}
    assert optimizer.state.keys() <= set(learning.values()), (
        "state of a parameter that does not learn"
    )
    for name, parameter in learning.items():
        state = optimizer.state.get(parameter, {})
        if not state:
            without.append(name)
        for key, value in state.items():
            if isinstance(value, Tensor):
                tensors[f"{name}.{key}"] = value.contiguous()
            else:
                assert isinstance(value, Plain), f"'{key}' is {type(value)}, which cannot be saved"
                values[f"{name}.{key}"] = value
    return OptimizerState(tensors, values, tuple(without))


def put_back(
    model: nn.Module, optimizer: torch.optim.Optimizer, saved: OptimizerState, folder: Path
) -> None:
    """Restore what `collect` found, on each parameter's device and in its layout.

    Each learning parameter must have all entries that the optimizer keeps, or none if it had no
    state when saved; other entries are errors. Errors name `folder` as their place.
    """
    expected = _expected(model, optimizer, saved)
    stored = {**saved.tensors, **saved.values}
    found = {
        "missing": [name for name in expected if name not in stored],
        "surplus": sorted(name for name in stored if name not in expected),
        "of another shape": list(_other_shapes(expected, saved.tensors)),
    }
    if errors := [_wrong(how, names, folder) for how, names in found.items() if names]:
        raise WeightsError.joined(errors)
    optimizer.state.clear()
    for name, entry in expected.items():
        optimizer.state[entry.parameter][entry.key] = entry.place(stored[name])


def _learning(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, dict[str, Any]]:
    """The group of each parameter that the optimizer has, by name in the model's order."""
    groups = {p: group for group in optimizer.param_groups for p in group["params"]}
    return {name: groups[p] for name, p in model.named_parameters() if p in groups}


def _expected(
    model: nn.Module, optimizer: torch.optim.Optimizer, saved: OptimizerState
) -> dict[str, Kept]:
    expected: dict[str, Kept] = {}
    trial = copy.copy(optimizer)
    for name, group in _learning(model, optimizer).items():
        parameter = model.get_parameter(name)
        entries = {
            f"{name}.{key}": Kept(parameter, key, like)
            for key, like in _first_entries(trial, group, parameter).items()
        }
        if saved.without_state is None:
            empty = not any(entry in saved.tensors for entry in entries)
        else:
            empty = name in saved.without_state
        expected |= {} if empty else entries
    return expected


def _first_entries(
    trial: torch.optim.Optimizer, group: Mapping[str, Any], parameter: nn.Parameter
) -> dict[str, tuple[torch.Size, torch.device] | None]:
    """What the optimizer keeps for a parameter after one step, tried on a stand-in of zeros."""
    stand_in = torch.zeros_like(parameter)
    stand_in.grad = torch.zeros_like(parameter)
    trial.state = defaultdict(dict)
    trial.param_groups = [{**group, "params": [stand_in]}]
    trial.step()
    return {
        key: (value.shape, value.device) if isinstance(value, Tensor) else None
        for key, value in trial.state[stand_in].items()
    }


def _other_shapes(expected: Mapping[str, Kept], tensors: Mapping[str, Tensor]) -> Iterator[str]:
    for name, entry in expected.items():
        if name in tensors and entry.like and tensors[name].shape != entry.like[0]:
            yield f"{name} is {tuple(tensors[name].shape)}, not {tuple(entry.like[0])}"


def _wrong(how: str, found: Sequence[str], folder: Path) -> WeightsError:
    verb = "is" if len(found) == 1 else "are"
    entries = counted(len(found), "entry", "entries")
    return WeightsError(
        f"{entries} of the optimizer's state {verb} {how}: {first_of(found, SHOWN)}.",
        where=str(folder),
        fix="resume with the recipe and the versions that the run was started with, or start a "
        f"new run from its weights: --set init.weights=null --set init.checkpoint={folder}.",
    )
