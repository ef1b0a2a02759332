"""Load a checkpoint through a key map, strictly, and account for every key.

Nothing is skipped in silence: a key of the file is loaded, dropped by rule, or an error; a
parameter of the model is loaded, expected to be fresh, or missing from what the map promises.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from backbones.key_maps.rename import KeyMap, Renamed, rename
from heads.key_maps import HEADS
from mimdet_cli.errors import WeightsError
from mimdet_cli.weights.read import read_tensors

SHOWN = 8


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What became of every key: tensors by name, and parameter counts behind the share."""

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
        """Loaded share of the parameters that the map promises."""
        return self.loaded_parameters / max(1, self.promised_parameters)

    def to_json(self) -> dict[str, Any]:
        """Everything, for the run folder."""
        return {**asdict(self), "share": self.share}

    def lines(self) -> list[str]:
        """Three lines for a person."""
        reasons = sorted(set(self.dropped.values()))
        return [
            f"weights: {Path(self.file).name} ({self.format}): {100 * self.share:.1f} % of the "
            f"{self.promised_parameters:,} promised parameters loaded, "
            f"{len(self.loaded)} tensors, {len(self.resized)} resized",
            f"  fresh as expected: {_first(self.fresh)}",
            f"  left in the file: {len(self.dropped)} tensors"
            + (f" ({'; '.join(reasons)})" if reasons else ""),
        ]


def load_weights(
    detector: nn.Module, backbone_map: KeyMap, path: Path, format_name: str, allow_missing: float
) -> LoadReport:
    """Fill `detector` (or its `backbone`, for maps of a backbone alone) from `path`."""
    whole = backbone_map.head is not None
    model = detector if whole else detector.get_submodule("backbone")
    key_map = _with_head(backbone_map)
    renamed = rename(read_tensors(path, key_map.unwrap), key_map)
    own = model.state_dict()
    _refuse_unknown(renamed, own, path, format_name)
    state, resized = _fit(renamed, own, key_map, path)
    report = _report(state, resized, own, key_map, renamed, path, format_name)
    if report.promised_parameters == 0 or 1 - report.share > allow_missing:
        raise WeightsError(
            f"only {100 * report.share:.1f} % of the parameters that '{format_name}' files bring "
            f"are in the file; missing: {_first(report.missing)}.",
            where=str(path),
            fix="use the full checkpoint (MAE: encoder and decoder), or accept the loss with "
            f"`--set init.allow_missing={min(1.0, 1.005 - report.share):.2f}`.",
        )
    model.load_state_dict({**own, **state})
    return report


def _with_head(key_map: KeyMap) -> KeyMap:
    if key_map.head is None:
        return key_map
    return KeyMap(
        rules={**key_map.rules, **HEADS[key_map.head]},
        fresh=key_map.fresh,
        resize=key_map.resize,
        unwrap=key_map.unwrap,
    )


def _refuse_unknown(
    renamed: Renamed, own: Mapping[str, Tensor], path: Path, format_name: str
) -> None:
    strays = [key for key in renamed.kept if key not in own]
    if not renamed.unknown and not strays:
        return
    names = [*renamed.unknown, *(renamed.source_of[key] for key in strays)]
    near = [get_close_matches(key, own, 1) for key in strays[:1]]
    hint = f" (the model has '{near[0][0]}')" if near and near[0] else ""
    raise WeightsError(
        f"{len(names)} keys of the file have no place in this model: {_first(names)}{hint}.",
        where=str(path),
        fix=f"is it a '{format_name}' file, and do the backbone's options match it?",
    )


def _fit(
    renamed: Renamed, own: Mapping[str, Tensor], key_map: KeyMap, path: Path
) -> tuple[dict[str, Tensor], list[str]]:
    """Tensors in the model's shapes, and the names of those that were resized."""
    state: dict[str, Tensor] = {}
    resized: list[str] = []
    wrong: list[WeightsError] = []
    for key, tensor in renamed.kept.items():
        shape = own[key].shape
        resizer = key_map.resizer(key)
        if tensor.shape != shape and resizer is not None and tensor.shape[2:] == shape[2:]:
            tensor = resizer(tensor, shape)
            resized.append(key)
        if tensor.shape != shape:
            wrong.append(
                WeightsError(
                    f"'{renamed.source_of[key]}' has shape {tuple(tensor.shape)}, the model's "
                    f"'{key}' {tuple(shape)}.",
                    where=str(path),
                    fix="choose the recipe of the same size as the file.",
                )
            )
        state[key] = tensor
    if wrong:
        raise WeightsError.joined(wrong[:SHOWN])
    return state, resized


def _report(
    state: Mapping[str, Tensor],
    resized: list[str],
    own: Mapping[str, Tensor],
    key_map: KeyMap,
    renamed: Renamed,
    path: Path,
    format_name: str,
) -> LoadReport:
    learned = {key: tensor for key, tensor in own.items() if torch.is_floating_point(tensor)}
    fresh = tuple(key for key in learned if key not in state and key_map.is_fresh(key))
    missing = tuple(key for key in learned if key not in state and not key_map.is_fresh(key))
    loaded = sum(own[key].numel() for key in state if key in learned)
    return LoadReport(
        file=str(path),
        format=format_name,
        loaded=tuple(state),
        resized=tuple(resized),
        fresh=fresh,
        missing=missing,
        dropped=renamed.dropped,
        promised_parameters=loaded + sum(own[key].numel() for key in missing),
        loaded_parameters=loaded,
    )


def _first(names: tuple[str, ...] | list[str]) -> str:
    """The first names, and how many more."""
    shown = ", ".join(names[:SHOWN])
    return (shown + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")) or "nothing"
