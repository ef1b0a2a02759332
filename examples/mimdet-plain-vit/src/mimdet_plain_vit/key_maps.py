"""timm's checkpoints of plain ViTs: the names are ours, except for BEiT's tables of offsets."""

from timm.layers.patch_embed import resample_patch_embed
from torch import Size, Tensor

from mimdet_cli.plugin_api import Drop, KeyMap, Rule, Trim
from mimdet_plain_vit.positions import resize_offsets, resize_positions

CLASS_ENTRIES = 3
"""Offsets from, to and of the class token, the last rows of BEiT's tables."""


def resize_patches(kernel: Tensor, shape: Size) -> Tensor:
    """A kernel for patches of another size: an enlarged patch keeps its token."""
    resized: Tensor = resample_patch_embed(kernel, list(shape[2:]))
    return resized


def timm_to_plain(prefix: int, *, has_norm: bool) -> KeyMap:
    """The map for files whose positions begin with `prefix` other tokens."""
    no_token = "a detector has no class or register token"
    last_norm: Rule = "norm.{rest}" if has_norm else Drop("this model has no norm after its blocks")
    rules: dict[str, Rule] = {
        "{cls|reg|dist|mask}_token": Drop(no_token),
        "pos_embed": "pos_embed",
        "blocks.{i}.attn.relative_position_bias_table": Trim("tables.{i}", CLASS_ENTRIES, no_token),
        "blocks.{i}.attn.relative_position_index": Drop("offsets are computed"),
        "{patch_embed.proj|norm_pre|blocks}.{rest}": "{patch_embed.proj|norm_pre|blocks}.{rest}",
        "norm.{rest}": last_norm,
        "{fc_norm|head|head_dist|attn_pool}.{rest}": Drop("images are not classified"),
        "decoder_{rest}": Drop("pixels are not predicted"),
    }
    resize = {
        "pos_embed": resize_positions(prefix),
        "patch_embed.proj.weight": resize_patches,
        "tables.{i}": resize_offsets,
    }
    return KeyMap(rules, resize=resize, unwrap="model")
