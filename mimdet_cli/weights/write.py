"""Write weights for other programs: safetensors, under our names or under detectron2's."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from backbones.key_maps.rename import KeyMap, published_names
from heads.key_maps import HEADS
from mimdet_cli.errors import ResourceError, WeightsError
from mimdet_cli.files import replacing
from mimdet_cli.words import first_of

SHOWN = 8
SECOND_RPN_CONV = "rpn.convs.1.weight"


def whole_detector_maps(maps: Mapping[str, KeyMap]) -> dict[str, KeyMap]:
    """Those of a backbone's key maps that read a detector with its head."""
    return {name: key_map for name, key_map in maps.items() if key_map.head is not None}


def detectron2_names(keys: Iterable[str], maps: Mapping[str, KeyMap]) -> dict[str, str]:
    """Our keys and their names in detectron2, by the backbone's map that reads its files."""
    whole = whole_detector_maps(maps)
    found = {name: key_map for name, key_map in whole.items() if key_map.head == "detectron2"}
    if len(found) != 1:
        raise WeightsError(
            "detectron2 has no layout for this backbone with these options.",
            where=f"the backbone reads {', '.join(maps) or 'no files'}",
            fix="use `--to safetensors`, which keeps mimdet's names.",
        )
    (key_map,) = found.values()
    own = list(keys)
    joined = KeyMap({**key_map.rules, **HEADS["detectron2"]})
    names = {key: _detectron2_name(key, joined, SECOND_RPN_CONV in own) for key in own}
    nameless = [key for key, name in names.items() if name is None]
    if nameless:
        raise WeightsError(
            f"{len(nameless)} tensors have no name in detectron2: {first_of(nameless, SHOWN)}.",
            where=f"key map '{next(iter(found))}'",
            fix="use `--to safetensors`, which keeps mimdet's names.",
        )
    return {key: name for key, name in names.items() if name is not None}


def _detectron2_name(key: str, key_map: KeyMap, several_rpn_convs: bool) -> str | None:
    """The name by the first rule that yields `key`: specific rules precede general ones."""
    names = published_names(key, key_map)
    if not several_rpn_convs:  # detectron2 numbers the RPN's convolutions only if there are more
        names = [name for name in names if ".rpn_head.conv.conv0." not in name]
    return names[0] if names else None


def write_safetensors(
    path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]
) -> None:
    """Write one file, whole or not at all."""
    whole = {key: tensor.contiguous() for key, tensor in tensors.items()}
    try:
        with replacing(path) as partial:
            save_file(whole, partial, dict(metadata))
    except (OSError, SafetensorError) as error:
        raise ResourceError(
            f"the file cannot be written: {str(error).splitlines()[0]}.",
            where=str(path),
            fix="free some space, or choose another file with --out.",
        ) from error
