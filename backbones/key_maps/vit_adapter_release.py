"""Released ViT-Adapter detectors (mmdetection files): names of backbone and FPN, and ours."""

from backbones.key_maps.rename import KeyMap, Rule
from backbones.layers.pos_embed import resize_square_table

_LAYERS = (
    r"((?:pos_embed|level_embed|patch_embed\.proj\..*|spm\..*|up\..*"
    r"|blocks\.\d+\.(?:norm[12]|attn\.(?:qkv|proj)|mlp\.fc[12])\..*"
    r"|interactions\.\d+\.injector\..*))"
)
_EXTRACTORS = {
    r"extractor": "extractors.0",
    r"extra_extractors\.0": "extractors.1",
    r"extra_extractors\.1": "extractors.2",
}


def release_to_vit_adapter() -> KeyMap:
    """Map of a whole detector file; our names carry the `backbone.` prefix."""
    rules: dict[str, Rule] = {
        rf"backbone\.{_LAYERS}": r"backbone.\1",
        r"backbone\.(blocks\.\d+)\.gamma([12])": r"backbone.\1.ls\2.gamma",
    }
    for theirs, ours in _EXTRACTORS.items():
        extractor = rf"backbone\.(interactions\.\d+)\.{theirs}"
        rules[rf"{extractor}\.ffn\.dwconv\.dwconv\.(.*)"] = rf"backbone.\1.{ours}.ffn.dwconv.\2"
        rules[rf"{extractor}\.(.*)"] = rf"backbone.\1.{ours}.\2"
    for level in range(4):
        rules[rf"backbone\.norm{level + 1}\.(.*)"] = rf"backbone.norms.{level}.\1"
    for theirs, ours in (("lateral_convs", "lateral"), ("fpn_convs", "output")):
        rules[rf"neck\.{theirs}\.(\d)\.conv\.(.*)"] = rf"backbone.neck.{ours}.\1.conv.\2"
        rules[rf"neck\.{theirs}\.(\d)\.bn\.(.*)"] = rf"backbone.neck.{ours}.\1.norm.\2"
    return KeyMap(
        rules=rules,
        resize={r"backbone\.pos_embed": resize_square_table},
        unwrap="state_dict",
        head="mmdet",
    )
