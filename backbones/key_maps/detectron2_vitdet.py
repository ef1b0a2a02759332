"""Detectron2's ViTDet detectors: backbone names; the head's are in `heads.key_maps`."""

from backbones.key_maps.rename import KeyMap, Rule
from backbones.layers.pos_embed import resize_square_table

_PYRAMID = {  # detectron2's index in the level's sequence -> our module
    "2": {"0": "scale.0.0", "1": "scale.0.1", "3": "scale.0.3", "4": "lateral.0", "5": "output.0"},
    "3": {"0": "scale.1", "1": "lateral.1", "2": "output.1"},
    "4": {"0": "lateral.2", "1": "output.2"},
    "5": {"1": "lateral.3", "2": "output.3"},
}


def detectron2_to_vitdet() -> KeyMap:
    """Map of a whole detector file; our names carry the `backbone.` prefix."""
    rules: dict[str, Rule] = {
        r"backbone\.net\.((?:pos_embed|patch_embed\.|blocks\.).*)": r"backbone.\1",
    }
    for level, modules in _PYRAMID.items():
        for index, ours in modules.items():
            theirs = rf"backbone\.simfp_{level}\.{index}"
            inner = "" if ours.startswith("scale.") else ".conv"
            rules[rf"{theirs}\.norm\.(.*)"] = rf"backbone.pyramid.{ours}.norm.\1"
            rules[rf"{theirs}\.(weight|bias)"] = rf"backbone.pyramid.{ours}{inner}.\1"
    return KeyMap(
        rules=rules,
        resize={r"backbone\.pos_embed": resize_square_table},
        unwrap="model",
        head="detectron2",
    )
