"""Uni-Perceiver as ViT-Adapter's release ships it for its Base: the image's half of the model.

The names are those of the backbone class in that repository (fd64a51, `detection`), which read the
file; the file itself could not be inspected. Tensors of other inputs, if there are any left in it,
are named by the loader as unknown. The Large's file has other names and is not read.
"""

from torch import Size, Tensor
from torch.nn import functional as F

from backbones.key_maps.rename import KeyMap, Rule, Stack
from backbones.layers.pos_embed import resize_square_table

_LAYER = r"layers\.(?P<i>\d+)\."
_LEAF = r"(?P<leaf>weight|bias)"
_NAMES = {
    r"attention\.output\.dense": "attn.proj",
    r"attention\.output\.LayerNorm": "norm1",
    r"intermediate\.dense": "mlp.fc1",
    r"output\.dense": "mlp.fc2",
    r"output\.LayerNorm": "norm2",
}


def uni_perceiver(fresh: tuple[str, ...]) -> KeyMap:
    """Map for a ViT whose norms follow the residual sums; `fresh` as in `mae_encoder`."""
    parts = ("query", "key", "value")
    rules: dict[str, Rule] = {
        rf"{_LAYER}attention\.self\.(?P<part>{'|'.join(parts)})\.{_LEAF}": Stack(
            r"blocks.\g<i>.attn.qkv.\g<leaf>", parts
        ),
        **{
            rf"{_LAYER}{theirs}\.{_LEAF}": rf"blocks.\g<i>.{ours}.\g<leaf>"
            for theirs, ours in _NAMES.items()
        },
        rf"visual_embed\.patch_embed\.proj\.{_LEAF}": r"patch_embed.proj.\g<leaf>",
        r"visual_embed\.patch_embed\.pos_embed\.weight": "pos_embed",
        r"visual_embed\.embeddings_type\.weight": "input_norm.kind",
        rf"visual_embed\.embeddings_norm\.{_LEAF}": r"input_norm.norm.\g<leaf>",
    }
    return KeyMap(rules, fresh, resize={"pos_embed": to_table}, unwrap="state_dict")


def to_table(positions: Tensor, shape: Size) -> Tensor:
    """Positions (G*G, D), which have no slot of a class token, as our table has them."""
    if positions.ndim == 2:
        positions = F.pad(positions, (0, 0, 1, 0))[None]  # (1, 1 + G*G, D)
    return resize_square_table(positions, shape)
