"""Whole detectors in mmdetection's layout: ViT-Adapter's release, and its baselines.

These are the backbones' names, with our `backbone.` prefix; the head's are in `heads.key_maps`.
"""

from typing import Final

from backbones.key_maps.rename import KeyMap, Rule
from backbones.layers.pos_embed import resize_square_table

_BLOCKS: Final = "blocks.{i}.{norm1|norm2|attn.qkv|attn.proj|mlp.fc1|mlp.fc2}.{rest}"
_EXTRACTORS: Final = {
    "extractor": "extractors.0",
    "extra_extractors.0": "extractors.1",
    "extra_extractors.1": "extractors.2",
}


def release_to_vit_adapter() -> KeyMap:
    """Released ViT-Adapter detectors."""
    rules = _same("pos_embed", "level_embed", "patch_embed.proj.{rest}", "{spm|up}.{rest}", _BLOCKS)
    rules |= _same("interactions.{i}.injector.{rest}")
    rules |= _layer_scale_and_norms()
    for theirs, ours in _EXTRACTORS.items():
        extractor, target = (f"backbone.interactions.{{i}}.{name}" for name in (theirs, ours))
        rules[f"{extractor}.ffn.dwconv.dwconv.{{rest}}"] = f"{target}.ffn.dwconv.{{rest}}"
        rules[f"{extractor}.{{rest}}"] = f"{target}.{{rest}}"
    return _detector(rules | _fpn_rules("neck"))


def release_to_baseline() -> KeyMap:
    """Released baselines, the rows "ViT" and "ViTDet" of ViT-Adapter's tables."""
    rules = _same("pos_embed", "patch_embed.proj.{rest}", _BLOCKS)
    rules |= _layer_scale_and_norms()
    rules |= {
        "backbone.blocks.{i}.residual.{rest}": "backbone.convs.{i}.{rest}",
        "backbone.up1.{rest}": "backbone.scale.up4.{rest}",
        "backbone.up2.{rest}": "backbone.scale.up2.{rest}",
    }
    return _detector(rules | _fpn_rules("fpn"))


def _same(*names: str) -> dict[str, Rule]:
    """Rules for names of the backbone that stay as they are."""
    return {f"backbone.{name}": f"backbone.{name}" for name in names}


def _layer_scale_and_norms() -> dict[str, Rule]:
    """LayerScale in the blocks, and the norms of the four maps, which are counted from 1."""
    return {
        "backbone.blocks.{i}.gamma{k:1|2}": "backbone.blocks.{i}.ls{k}.gamma",
        **{f"backbone.norm{k + 1}.{{rest}}": f"backbone.norms.{k}.{{rest}}" for k in range(4)},
    }


def _fpn_rules(fpn: str) -> dict[str, Rule]:
    """Rules of mmdetection's neck for our pyramid, which the backbone calls `fpn`."""
    rules: dict[str, Rule] = {}
    for theirs, ours in (("lateral_convs", "lateral"), ("fpn_convs", "output")):
        for layer, name in (("conv", "conv"), ("bn", "norm")):
            rules[f"neck.{theirs}.{{i}}.{layer}.{{rest}}"] = (
                f"backbone.{fpn}.{ours}.{{i}}.{name}.{{rest}}"
            )
    return rules


def _detector(rules: dict[str, Rule]) -> KeyMap:
    return KeyMap(
        rules,
        resize={"backbone.pos_embed": resize_square_table},
        unwrap="state_dict",
        head="mmdet",
    )
