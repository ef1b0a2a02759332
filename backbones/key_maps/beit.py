"""BEiT and BEiTv2 classifiers, in timm's layout and the authors', which has the same names.

Papers: Bao et al. (arXiv:2106.08254), Peng et al. (arXiv:2208.06366). Their attention has no bias
on the keys: every logit of a query moves by the same amount, which softmax takes out again. Ours
has one, which starts at zero. A table of relative positions ends in three entries about the class
token. Files of pre-training alone, with one table shared by all blocks, are not read.
"""

from backbones.key_maps.rename import Drop, KeyMap, Rule, Stack, Trim
from backbones.layers.relative_positions import resize_offset_table

_TABLE = r"(blocks\.\d+\.attn)\.relative_position_bias_table"
_CLASS_TOKEN = "a detector has no class token"
_CLASS_ENTRIES = 3


def timm_beit() -> KeyMap:
    """Map for a ViT with a table of relative positions per block and no absolute ones."""
    rules: dict[str, Rule] = {
        r"(blocks\.\d+\.attn)\.(?P<part>[qv]_bias)": Stack(
            r"\1.qkv.bias", ("q_bias", None, "v_bias")
        ),
        _TABLE: Trim(r"\1.relative_position_bias_table", _CLASS_ENTRIES, _CLASS_TOKEN),
        r"blocks\.\d+\.attn\.relative_position_index": Drop("offsets are computed"),
        r"(blocks\.\d+)\.gamma_([12])": r"\1.ls\2.gamma",
        r"blocks\.\d+\.attn\.qkv\.weight": r"\g<0>",
        r"(?:patch_embed\.proj|blocks\.\d+\.(?:norm[12]|attn\.proj|mlp\.fc[12]))\..*": r"\g<0>",
        r"cls_token": Drop(_CLASS_TOKEN),
        r"(?:fc_)?norm\..*": Drop("no norm follows the last block"),
        r"head\..*": Drop("images are not classified"),
    }
    return KeyMap(rules, resize={_TABLE: resize_offset_table}, unwrap="model")
