"""Load a checkpoint through a key map, strictly, and account for every key.

Nothing is skipped in silence: a key of the file is loaded, dropped by rule, or an error; a
parameter of the model is loaded, expected to be fresh, or missing.

What must be loaded is not for the map to decide: for a file of a backbone, all that the backbone
declares as pre-trained (`is_pretrained`); for one of a whole detector, everything; except what the
map names as fresh. A map that fills nothing is refused, whatever it names as fresh.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from backbones.contract import Backbone
from backbones.key_maps.rename import KeyMap, Renamed, Resize, rename
from heads.key_maps import HEADS
from mimdet_cli.errors import WeightsError
from mimdet_cli.weights.read import read_tensors
from mimdet_cli.words import first_of

SHOWN = 8


@dataclass(frozen=True, slots=True)
class LoadReport:
    """How every key was used: tensors by name, and the parameter counts behind the share."""

    file: str
    format: str
    loaded: tuple[str, ...]
    resized: tuple[str, ...]
    fresh: tuple[str, ...]
    missing: tuple[str, ...]
    dropped: Mapping[str, str]
    promised_parameters: int
    loaded_parameters: int

    @property
    def share(self) -> float:
        """Loaded share of the promised parameters."""
        return self.loaded_parameters / max(1, self.promised_parameters)

    def to_json(self) -> dict[str, Any]:
        """Everything, for the run folder."""
        return {**asdict(self), "share": self.share}

    def lines(self) -> list[str]:
        """Three lines for the terminal."""
        reasons = sorted(set(self.dropped.values()))
        return [
            f"weights: {Path(self.file).name} ({self.format}): {100 * self.share:.1f} % of the "
            f"{self.promised_parameters:,} promised parameters loaded, "
            f"{len(self.loaded)} tensors, {len(self.resized)} resized",
            f"  fresh as expected: {_first(_grouped(self.fresh, self.loaded))}",
            f"  left in the file: {len(self.dropped)} tensors"
            + (f" ({'; '.join(reasons)})" if reasons else ""),
        ]


def load_weights(
    detector: nn.Module, backbone_map: KeyMap, path: Path, format_name: str, allow_missing: float
) -> LoadReport:
    """Fill `detector` (or its `backbone`, for maps of a backbone alone) from `path`."""
    backbone = detector.get_submodule("backbone")
    assert isinstance(backbone, Backbone)
    model = backbone if backbone_map.head is None else detector
    key_map = _with_head(backbone_map)
    renamed = rename(read_tensors(path, key_map.unwrap), key_map)
    own = model.state_dict()
    _refuse_unread(renamed, own, path, format_name)
    state, resized = _fit(renamed, own, key_map, path)
    promised = {key for key in _learned(own) if not key_map.is_fresh(key)}
    if model is backbone:
        promised = {key for key in promised if backbone.is_pretrained(key)}
    report = _report(state, resized, own, promised, renamed, path, format_name)
    if report.loaded_parameters == 0 or 1 - report.share > allow_missing:
        raise _too_little(report, path)
    model.load_state_dict({**own, **state})
    return report


def _with_head(key_map: KeyMap) -> KeyMap:
    if key_map.head is None:
        return key_map
    return replace(key_map, rules={**key_map.rules, **HEADS[key_map.head]}, head=None)


def _refuse_unread(
    renamed: Renamed, own: Mapping[str, Tensor], path: Path, format_name: str
) -> None:
    """Refuse keys that have no place in the model, and tensors that are incomplete in the file."""
    errors = []
    strays = [key for key in renamed.kept if key not in own]
    names = [*renamed.unknown, *(name for key in strays for name in renamed.sources[key])]
    if names:
        near = [get_close_matches(key, own, 1) for key in strays[:1]]
        hint = f" (the model has '{near[0][0]}')" if near and near[0] else ""
        have = "1 key of the file has" if len(names) == 1 else f"{len(names)} keys of the file have"
        errors.append(
            WeightsError(
                f"{have} no place in this model: {_first(names)}{hint}.",
                where=str(path),
                fix=f"check that it is a '{format_name}' file, and that the backbone's options "
                "match it.",
            )
        )
    errors += [
        WeightsError(
            f"'{key}' cannot be made from the file: {why}.",
            where=str(path),
            fix=f"check that it is a complete '{format_name}' file; download it again.",
        )
        for key, why in list(renamed.broken.items())[:SHOWN]
    ]
    if errors:
        raise WeightsError.joined(errors)


def _fit(
    renamed: Renamed, own: Mapping[str, Tensor], key_map: KeyMap, path: Path
) -> tuple[dict[str, Tensor], list[str]]:
    """Tensors in the model's shapes, and the names of those that were resized."""
    state: dict[str, Tensor] = {}
    wrong: list[WeightsError] = []
    for key, tensor in renamed.kept.items():
        shape, reason = own[key].shape, ""
        try:
            state[key] = _resized(tensor, shape, key_map.resizer(key))
        except ValueError as error:
            state[key], reason = tensor, f": {error}"
        if state[key].shape != shape:
            wrong.append(
                WeightsError(
                    f"'{' + '.join(renamed.sources[key])}' has shape {tuple(tensor.shape)}, the "
                    f"model's '{key}' {tuple(shape)}{reason}.",
                    where=str(path),
                    fix="use a recipe of the file's size.",
                )
            )
    if wrong:
        raise WeightsError.joined(wrong[:SHOWN])
    return state, [key for key, tensor in renamed.kept.items() if tensor.shape != own[key].shape]


def _resized(tensor: Tensor, shape: torch.Size, resizer: Resize | None) -> Tensor:
    """`tensor` in `shape`, as far as its layout may be resized."""
    return tensor if resizer is None or tensor.shape == shape else resizer(tensor, shape)


def _learned(own: Mapping[str, Tensor]) -> list[str]:
    return [key for key, tensor in own.items() if torch.is_floating_point(tensor)]


def _report(
    state: Mapping[str, Tensor],
    resized: list[str],
    own: Mapping[str, Tensor],
    promised: Collection[str],
    renamed: Renamed,
    path: Path,
    format_name: str,
) -> LoadReport:
    rest = [key for key in _learned(own) if key not in state]
    return LoadReport(
        file=str(path),
        format=format_name,
        loaded=tuple(state),
        resized=tuple(resized),
        fresh=tuple(key for key in rest if key not in promised),
        missing=tuple(key for key in rest if key in promised),
        dropped=renamed.dropped,
        promised_parameters=sum(own[key].numel() for key in promised),
        loaded_parameters=sum(own[key].numel() for key in promised if key in state),
    )


def _too_little(report: LoadReport, path: Path) -> WeightsError:
    if report.promised_parameters == 0:
        return WeightsError(
            f"the backbone declares no parameter that '{report.format}' files could fill.",
            where=str(path),
            fix="its class must declare what is pre-trained, by `is_pretrained` or by rules with "
            "the rate `pretrained`; or train from random weights with `--set init.weights=null`.",
        )
    what = (
        f"the file holds only {100 * report.share:.1f} % of the parameters that "
        f"'{report.format}' files should fill; missing: {_first(report.missing)}."
    )
    fix = "use the full checkpoint (MAE: encoder and decoder)"
    if report.loaded_parameters:
        fix += (
            ", or accept the gap with "
            f"`--set init.allow_missing={min(1.0, 1.005 - report.share):.2f}`"
        )
    return WeightsError(what, where=str(path), fix=f"{fix}.")


def _grouped(names: Collection[str], loaded: Collection[str]) -> list[str]:
    """Parts of the model and how many of `names` each has; numbers in a name become stars.

    In a part that was loaded in other places the names are shown whole.
    """
    filled = {name.partition(".")[0] for name in loaded}
    counts: dict[str, int] = {}
    for name in names:
        part = name.partition(".")[0]
        group = re.sub(r"(?<=\.)\d+(?=\.|$)", "*", name) if part in filled else part
        counts[group] = counts.get(group, 0) + 1
    return [group if count == 1 else f"{group} ({count})" for group, count in counts.items()]


def _first(names: tuple[str, ...] | list[str]) -> str:
    """The first names, and how many more there are."""
    return first_of(names, SHOWN) or "nothing"
