"""Start a detector from another mimdet checkpoint; only the layers of other classes are reset.

Nothing is skipped in silence: a tensor that is not copied belongs to other classes or to a mask
head that only one of the two has, and is reported with the reason. Other differences are errors.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from backbones.key_maps.rename import KeyMap
from heads.key_maps import follows_classes
from mimdet_cli.errors import WeightsError
from mimdet_cli.weights.load import LoadReport
from mimdet_cli.words import first_of

FORMAT = "mimdet run"
SHOWN = 8
MASK_HEAD = "roi_heads.mask_head."


@dataclass(frozen=True, slots=True)
class AllowedDifference:
    """What may differ between the two detectors: their classes, or that only one has masks."""

    classes: bool
    masks: bool

    def reason(self, key: str) -> str | None:
        """Why the tensor `key` is not copied; None if it must be."""
        if self.masks and key.startswith(MASK_HEAD):
            return "only one of the two predicts masks"
        if self.classes and follows_classes(key):
            return "the classes differ"
        return None


def transfer(
    detector: nn.Module,
    tensors: Mapping[str, Tensor],
    maps: Mapping[str, KeyMap],
    *,
    same_classes: bool,
    file: Path,
    fix: str,
) -> LoadReport:
    """Fill `detector` with the `tensors` of the mimdet checkpoint `file`.

    `maps` are the backbone's; their resizers fit position tables to another grid. `fix` is the
    advice where the two do not fit.
    """
    own = detector.state_dict()
    masks = [any(key.startswith(MASK_HEAD) for key in state) for state in (own, tensors)]
    difference = AllowedDifference(classes=not same_classes, masks=masks[0] != masks[1])
    fresh_keys = [key for key in own if difference.reason(key)]
    dropped = {key: reason for key in tensors if (reason := difference.reason(key))}
    kept = {key: tensor for key, tensor in tensors.items() if key not in dropped}
    state = {key: _resized(key, tensor, own, maps) for key, tensor in kept.items()}
    _refuse_differences(state, own, fresh_keys, file, fix)
    detector.load_state_dict({**own, **state})
    learned = {key for key, tensor in own.items() if torch.is_floating_point(tensor)}
    count = sum(own[key].numel() for key in state if key in learned)
    return LoadReport(
        file=str(file),
        format=FORMAT,
        loaded=tuple(state),
        resized=tuple(key for key in state if state[key] is not kept[key]),
        fresh=tuple(key for key in fresh_keys if key in learned),
        missing=(),
        dropped=dropped,
        promised_parameters=count,
        loaded_parameters=count,
    )


def _resized(
    key: str, tensor: Tensor, own: Mapping[str, Tensor], maps: Mapping[str, KeyMap]
) -> Tensor:
    """The tensor in the shape of our `key`, if the backbone has a resizer for it."""
    if key not in own or own[key].shape == tensor.shape:
        return tensor
    inner = key.removeprefix("backbone.")  # maps of a backbone alone omit its prefix
    found = (key_map.resizer(inner if key_map.head is None else key) for key_map in maps.values())
    resizer = next((resizer for resizer in found if resizer is not None), None)
    if resizer is None:
        return tensor
    try:
        return resizer(tensor, own[key].shape)
    except ValueError:  # a table of another kind: reported with the other differences
        return tensor


def _refuse_differences(
    state: Mapping[str, Tensor],
    own: Mapping[str, Tensor],
    fresh_keys: list[str],
    file: Path,
    fix: str,
) -> None:
    there = {key: tuple(tensor.shape) for key, tensor in state.items()}
    here = {key: tuple(tensor.shape) for key, tensor in own.items() if key not in fresh_keys}
    differing = [key for key in there | here if there.get(key) != here.get(key)]
    if not differing:
        return
    differences = [
        f"{key} ({there.get(key, 'absent')} in the checkpoint, {here.get(key, 'absent')} "
        "in the recipe's model)"
        for key in differing
    ]
    raise WeightsError(
        f"the checkpoint does not fit the recipe's model; {len(differing)} tensors differ: "
        f"{first_of(differences, SHOWN)}.",
        where=str(file),
        fix=fix,
    )
