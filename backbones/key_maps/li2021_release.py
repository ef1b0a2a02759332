"""Li et al. 2021 in the layout of MIMDet's repository: backbone names; detectron2's head."""

from backbones.key_maps.rename import Drop, KeyMap, Rule

LEVEL_OF = {"2": "0", "3": "1", "4": "2", "5": "3"}


def release_to_li2021() -> KeyMap:
    """Map of a whole detector file; our names carry the `backbone.` prefix."""
    up = r"backbone\.bottom_up\."
    rules: dict[str, Rule] = {
        rf"{up}((?:patch_embed|blocks)\..*|pos_embed)": r"backbone.\1",
        rf"{up}windowed_rel_pos_bias\.relative_position_bias_table": "backbone.window_table",
        rf"{up}global_rel_pos_bias\.relative_position_bias_table": "backbone.global_table",
        rf"{up}\w+_rel_pos_bias\.relative_position_index": Drop("offsets are computed"),
        rf"{up}ms_adaptor\.0\.(.*)": r"backbone.scale.up4.\1",
        rf"{up}ms_adaptor\.1\.(.*)": r"backbone.scale.up2.\1",
    }
    for level, index in LEVEL_OF.items():
        for kind in ("lateral", "output"):
            name = rf"backbone\.fpn_{kind}{level}"
            rules[rf"{name}\.norm\.(.*)"] = rf"backbone.fpn.{kind}.{index}.norm.\1"
            rules[rf"{name}\.(weight|bias)"] = rf"backbone.fpn.{kind}.{index}.conv.\1"
    return KeyMap(rules=rules, head="detectron2", unwrap="model")
