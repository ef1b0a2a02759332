"""Whole detectors in detectron2's layout: MIMDet's release, Li et al. 2021 in it, and ViTDet.

These are the backbones' names, with our `backbone.` prefix; the head's are in `heads.key_maps`.
"""

from typing import Final

from backbones.key_maps.rename import Drop, KeyMap, Rule
from backbones.layers.pos_embed import resize_square_table

_UP: Final = "backbone.bottom_up"
_PYRAMID: Final = {  # detectron2's index in the level's sequence -> our module
    "2": {"0": "scale.0.0", "1": "scale.0.1", "3": "scale.0.3", "4": "lateral.0", "5": "output.0"},
    "3": {"0": "scale.1", "1": "lateral.1", "2": "output.1"},
    "4": {"0": "lateral.2", "1": "output.2"},
    "5": {"1": "lateral.3", "2": "output.3"},
}


def release_to_mimdet() -> KeyMap:
    """MIMDet's released detectors, of both fillings."""
    encoder, decoder = f"{_UP}.encoder", f"{_UP}.decoder"
    rules: dict[str, Rule] = {
        f"{encoder}.patch_embed.proj.3.3.{{rest}}": "backbone.stem.to_tokens.{rest}",
        f"{encoder}.patch_embed.proj.{{i}}.{{k:0|1}}.{{rest}}": (
            "backbone.stem.stages.{i}.{k}.{rest}"
        ),
        f"{encoder}.{{rest}}": "backbone.encoder.{rest}",
        f"{decoder}.conv_feat_proj.{{rest}}": "backbone.decoder.stem_proj.{rest}",
        f"{decoder}.mask_token": "backbone.decoder.mask_token",
        f"{decoder}.decoder_{{rest}}": "backbone.decoder.{rest}",
        **_fpn_rules(),
    }
    return KeyMap(rules, unwrap="model", head="detectron2")


def release_to_li2021() -> KeyMap:
    """The detectors of Li et al. 2021 as MIMDet's repository builds them."""
    rules: dict[str, Rule] = {
        f"{_UP}.{{patch_embed|blocks}}.{{rest}}": "backbone.{patch_embed|blocks}.{rest}",
        f"{_UP}.pos_embed": "backbone.pos_embed",
        f"{_UP}.windowed_rel_pos_bias.relative_position_bias_table": "backbone.window_table",
        f"{_UP}.global_rel_pos_bias.relative_position_bias_table": "backbone.global_table",
        f"{_UP}.{{windowed|global}}_rel_pos_bias.relative_position_index": Drop(
            "offsets are computed"
        ),
        f"{_UP}.ms_adaptor.0.{{rest}}": "backbone.scale.up4.{rest}",
        f"{_UP}.ms_adaptor.1.{{rest}}": "backbone.scale.up2.{rest}",
        **_fpn_rules(),
    }
    return KeyMap(rules, unwrap="model", head="detectron2")


def detectron2_to_vitdet() -> KeyMap:
    """Detectron2's own ViTDet detectors."""
    rules: dict[str, Rule] = {
        "backbone.net.pos_embed": "backbone.pos_embed",
        "backbone.net.{patch_embed|blocks}.{rest}": "backbone.{patch_embed|blocks}.{rest}",
    }
    for level, modules in _PYRAMID.items():
        for index, ours in modules.items():
            theirs, module = f"backbone.simfp_{level}.{index}", f"backbone.pyramid.{ours}"
            inner = module if ours.startswith("scale.") else f"{module}.conv"
            rules[f"{theirs}.norm.{{rest}}"] = f"{module}.norm.{{rest}}"
            rules[f"{theirs}.{{leaf}}"] = f"{inner}.{{leaf}}"
    return KeyMap(
        rules,
        resize={"backbone.pos_embed": resize_square_table},
        unwrap="model",
        head="detectron2",
    )


def _fpn_rules() -> dict[str, Rule]:
    """Detectron2's FPN counts its levels from 2, ours from 0."""
    rules: dict[str, Rule] = {}
    for level in range(4):
        theirs, ours = f"backbone.fpn_{{kind:lateral|output}}{level + 2}", "backbone.fpn.{kind}"
        rules[f"{theirs}.norm.{{rest}}"] = f"{ours}.{level}.norm.{{rest}}"
        rules[f"{theirs}.{{leaf}}"] = f"{ours}.{level}.conv.{{leaf}}"
    return rules
