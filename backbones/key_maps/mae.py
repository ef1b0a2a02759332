"""MAE pre-training checkpoints (the authors' layout, encoder and decoder) for MIMDet.

Encoder names are timm's. MIMDet replaces the patch embedding by a convolutional stem, has no class
token, and reads the first decoder blocks only; with stem filling it has no [MASK] vector either.
"""

from backbones.key_maps.rename import Drop, KeyMap
from backbones.layers.pos_embed import resize_square_table

MAE_DECODER_LAYERS = 8


def mae_to_mimdet(decoder_layers: int, stem_filled: bool) -> KeyMap:
    """Map for a MIMDet with `decoder_layers` decoder blocks, stem-filled or [MASK]-filled."""
    first = "|".join(str(i) for i in range(decoder_layers))
    rules: dict[str, str | Drop] = {
        r"(pos_embed|blocks\.\d+\..*|norm\..*)": r"encoder.\1",
        r"decoder_(pos_embed|embed\..*|norm\..*)": r"decoder.\1",
        rf"decoder_(blocks\.(?:{first})\..*)": r"decoder.\1",
        r"decoder_blocks\.\d+\..*": Drop(
            f"only the first {decoder_layers} decoder blocks are used"
        ),
        r"patch_embed\..*": Drop("replaced by the convolutional stem"),
        r"cls_token": Drop("a detector has no class token"),
        r"decoder_pred\..*": Drop("pixels are not predicted"),
        r"mask_token": Drop("stem features fill instead") if stem_filled else "decoder.mask_token",
    }
    return KeyMap(
        rules=rules,
        fresh=(r"stem\..*", r"fpn\..*", r"decoder\.stem_proj\..*"),
        resize={r"(encoder|decoder)\.pos_embed": resize_square_table},
        unwrap="model",
    )
