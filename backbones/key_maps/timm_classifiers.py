"""ImageNet classifiers in timm's layout: plain ViTs, BEiTs, and hierarchical models.

DeiT without distillation and AugReg are plain ViTs, whose names are ours. What a detector has no
place for is dropped by rule.

BEiT and BEiTv2 (Bao et al., arXiv:2106.08254; Peng et al., arXiv:2208.06366) have the same names in
the authors' files. Their attention has no bias on the keys: every logit of a query moves by the
same amount, which softmax takes out again. Ours has one, which starts at zero. A table of relative
positions ends in three entries about the class token. Files of pre-training alone, with one table
shared by all blocks, are not read.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from backbones.key_maps.rename import Drop, KeyMap, Rule, Stack, Trim
from backbones.layers.pos_embed import resize_square_table
from backbones.layers.relative_positions import resize_offset_table

VIT_LAYERS: Final = (
    "patch_embed.proj.{rest}",
    "blocks.{i}.{norm1|norm2|attn.qkv|attn.proj|mlp.fc1|mlp.fc2}.{rest}",
)
"""A plain ViT's layers, which have the same names in timm, in MAE and here."""
CLASS_TOKEN: Final = Drop("a detector has no class token")
FINAL_NORM: Final = Drop("no norm follows the last block")
_CLASSIFIER: Final = Drop("images are not classified")
_TABLE: Final = "blocks.{i}.attn.relative_position_bias_table"
_CLASS_ENTRIES: Final = 3


def timm_vit(fresh: tuple[str, ...]) -> KeyMap:
    """Plain ViTs; `fresh` are templates of our names in its blocks that a plain ViT lacks."""
    rules: dict[str, Rule] = {
        **{layer: layer for layer in VIT_LAYERS},
        "pos_embed": "pos_embed",
        "cls_token": CLASS_TOKEN,
        "norm.{rest}": FINAL_NORM,
        "head.{rest}": _CLASSIFIER,
    }
    return KeyMap(rules, fresh, resize={"pos_embed": resize_square_table}, unwrap="model")


def timm_beit() -> KeyMap:
    """BEiTs: a table of relative positions per block, and no absolute ones."""
    rules: dict[str, Rule] = {
        "blocks.{i}.attn.{part}": Stack("blocks.{i}.attn.qkv.bias", ("q_bias", None, "v_bias")),
        _TABLE: Trim(_TABLE, _CLASS_ENTRIES, CLASS_TOKEN.reason),
        "blocks.{i}.attn.relative_position_index": Drop("offsets are computed"),
        "blocks.{i}.gamma_{k:1|2}": "blocks.{i}.ls{k}.gamma",
        "blocks.{i}.attn.qkv.weight": "blocks.{i}.attn.qkv.weight",
        "patch_embed.proj.{rest}": "patch_embed.proj.{rest}",
        "blocks.{i}.{norm1|norm2|attn.proj|mlp.fc1|mlp.fc2}.{rest}": (
            "blocks.{i}.{norm1|norm2|attn.proj|mlp.fc1|mlp.fc2}.{rest}"
        ),
        "cls_token": CLASS_TOKEN,
        "{norm|fc_norm}.{rest}": FINAL_NORM,
        "head.{rest}": _CLASSIFIER,
    }
    return KeyMap(rules, resize={_TABLE: resize_offset_table}, unwrap="model")


def convnext_to_stem() -> KeyMap:
    """ConvNeXts (the Large for a Base) for MIMDet's `convnext` stem.

    It reads the patch layer, the first two stages and the step to the third. Encoder and decoder
    keep the values they have, so that MAE weights may be loaded before.
    """
    rules: dict[str, Rule] = {
        "stem.{k:0|1}.{rest}": "stem.patch.{k}.{rest}",
        "stages.{k:0|1}.{rest}": "stem.stages.{k}.{rest}",
        "stages.2.downsample.{rest}": "stem.to_tokens.{rest}",
        "stages.{2|3}.{rest}": Drop("the encoder replaces the later stages"),
        "{head|norm_pre}.{rest}": _CLASSIFIER,
    }
    return KeyMap(rules, fresh=("{encoder|decoder}.{rest}",), unwrap="model")


def timm_to_features(parts: Iterable[str], left_out: Mapping[str, str]) -> KeyMap:
    """Hierarchical models of which `parts` are kept; `left_out` names parts, with the reasons."""
    rules: dict[str, Rule] = {
        "{path}.{relative_position_index|attn_mask}": Drop("computed, not learned"),
        **{f"{part}.{{rest}}": Drop(reason) for part, reason in left_out.items()},
    }
    for part in parts:
        rules |= {part: f"body.{part}", f"{part}.{{rest}}": f"body.{part}.{{rest}}"}
    return KeyMap(rules)
