"""MAE pre-training checkpoints (the authors' layout, encoder and decoder) for MIMDet.

Encoder names are timm's. MIMDet replaces the patch embedding by a convolutional stem, has no class
token, and reads the first decoder blocks only, or none; with stem filling it has no [MASK] vector
either.
"""

from collections.abc import Mapping

from backbones.key_maps.rename import Drop, KeyMap, Rule
from backbones.layers.pos_embed import resize_square_table

MAE_DECODER_LAYERS = 8
_DECODER = r"decoder_.*|mask_token"


def decoder_rules(layers: int, stem_filled: bool) -> dict[str, Rule]:
    """Rules of the decoder's keys for the first `layers` of its blocks."""
    first = "|".join(str(i) for i in range(layers))
    return {
        r"decoder_(pos_embed|embed\..*|norm\..*)": r"decoder.\1",
        rf"decoder_(blocks\.(?:{first})\..*)": r"decoder.\1",
        r"decoder_blocks\.\d+\..*": Drop(f"only the first {layers} decoder blocks are used"),
        r"decoder_pred\..*": Drop("pixels are not predicted"),
        r"mask_token": Drop("stem features fill instead") if stem_filled else "decoder.mask_token",
    }


def mae_to_mimdet(decoder_layers: int, stem_filled: bool) -> KeyMap:
    """Map for a MIMDet with `decoder_layers` decoder blocks, stem-filled or [MASK]-filled."""
    if decoder_layers:
        return _to_mimdet(decoder_rules(decoder_layers, stem_filled), (r"decoder\.stem_proj\..*",))
    return _to_mimdet({_DECODER: Drop("there is no decoder")}, ())


def mae_encoder_to_mimdet() -> KeyMap:
    """Map that fills the encoder alone and starts the decoder anew, for the ablation of it.

    The file may hold a decoder or not.
    """
    return _to_mimdet({_DECODER: Drop("the decoder starts anew")}, (r"decoder\..*",))


def _to_mimdet(of_decoder: Mapping[str, Rule], fresh: tuple[str, ...]) -> KeyMap:
    rules: dict[str, Rule] = {
        r"(pos_embed|blocks\.\d+\..*|norm\..*)": r"encoder.\1",
        r"patch_embed\..*": Drop("replaced by the convolutional stem"),
        r"cls_token": Drop("a detector has no class token"),
        **of_decoder,
    }
    return KeyMap(
        rules=rules,
        fresh=(r"stem\..*", *fresh),
        resize={r"(encoder|decoder)\.pos_embed": resize_square_table},
        unwrap="model",
    )
