"""Checkpoints of plain ViTs: MAE encoders, and classifiers in timm's layout (DeiT, AugReg).

Their names are ours. What a detector has no place for is dropped by rule.
"""

from backbones.key_maps.rename import Drop, KeyMap, Rule
from backbones.layers.patch_embed import resize_patches
from backbones.layers.pos_embed import resize_square_table

_LAYERS = r"((?:patch_embed\.proj|blocks\.\d+\.(?:norm[12]|attn\.(?:qkv|proj)|mlp\.fc[12]))\..*)"
_POSITIONS = "pos_embed"
_CLASS_TOKEN = Drop("a detector has no class token")
_FINAL_NORM = Drop("no norm follows the last block")


def mae_encoder(fresh: tuple[str, ...], *, positions: bool = True) -> KeyMap:
    """MAE pre-training checkpoints, encoder alone or with the decoder, which is left behind.

    `fresh` are patterns of keys in our blocks that a plain ViT does not have; `positions` says
    whether the stored position table is used.
    """
    table: Rule = _POSITIONS if positions else Drop("positions are computed")
    rules: dict[str, Rule] = {
        _LAYERS: r"\1",
        _POSITIONS: table,
        r"cls_token": _CLASS_TOKEN,
        r"norm\..*": _FINAL_NORM,
        r"decoder_.*|mask_token": Drop("pixels are not predicted"),
    }
    resize = {_POSITIONS: resize_square_table, r"patch_embed\.proj\.weight": resize_patches}
    return KeyMap(rules, fresh, resize, unwrap="model")


def timm_vit(fresh: tuple[str, ...]) -> KeyMap:
    """Image classifiers named as in timm, DeiT without distillation and AugReg among them."""
    rules: dict[str, Rule] = {
        _LAYERS: r"\1",
        _POSITIONS: _POSITIONS,
        r"cls_token": _CLASS_TOKEN,
        r"norm\..*": _FINAL_NORM,
        r"head\..*": Drop("images are not classified"),
    }
    return KeyMap(rules, fresh, resize={_POSITIONS: resize_square_table}, unwrap="model")
