"""ViT-Adapter's own baselines ("ViT" and "ViTDet" rows): mmdetection's files, and our names."""

from backbones.key_maps.rename import KeyMap, Rule
from backbones.layers.pos_embed import resize_square_table

_BLOCKS = r"blocks\.\d+\.(?:norm[12]|attn\.(?:qkv|proj)|mlp\.fc[12])\..*"


def release_to_baseline() -> KeyMap:
    """Map of a whole detector file; our names carry the `backbone.` prefix."""
    rules: dict[str, Rule] = {
        rf"backbone\.(?:pos_embed|patch_embed\.proj\..*|{_BLOCKS})": r"\g<0>",
        r"backbone\.(blocks\.\d+)\.gamma([12])": r"backbone.\1.ls\2.gamma",
        r"backbone\.blocks\.(\d+)\.residual\.(.*)": r"backbone.convs.\1.\2",
        r"backbone\.up1\.(.*)": r"backbone.scale.up4.\1",
        r"backbone\.up2\.(.*)": r"backbone.scale.up2.\1",
    }
    for level in range(4):
        rules[rf"backbone\.norm{level + 1}\.(.*)"] = rf"backbone.norms.{level}.\1"
    for theirs, ours in (("lateral_convs", "lateral"), ("fpn_convs", "output")):
        rules[rf"neck\.{theirs}\.(\d)\.conv\.(.*)"] = rf"backbone.fpn.{ours}.\1.conv.\2"
        rules[rf"neck\.{theirs}\.(\d)\.bn\.(.*)"] = rf"backbone.fpn.{ours}.\1.norm.\2"
    return KeyMap(
        rules=rules,
        resize={r"backbone\.pos_embed": resize_square_table},
        unwrap="state_dict",
        head="mmdet",
    )
