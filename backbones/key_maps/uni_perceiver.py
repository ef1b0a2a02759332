"""Uni-Perceiver as ViT-Adapter's release ships it for its Base: the image's half of the model.

The names are those of the backbone class in that repository (fd64a51, `detection`), which read the
file; the file itself could not be inspected. Tensors of other inputs, if the file has any, are
reported by the loader as unknown. The Large's file has other names and is not read.
"""

from torch import Size, Tensor
from torch.nn import functional as F

from backbones.key_maps.rename import KeyMap, Rule, Stack
from backbones.layers.pos_embed import resize_square_table


def uni_perceiver(fresh: tuple[str, ...]) -> KeyMap:
    """Map for a ViT whose norms follow the residual sums; `fresh` as in `mae_encoder`."""
    rules: dict[str, Rule] = {
        "layers.{i}.attention.self.{part}.{leaf}": Stack(
            "blocks.{i}.attn.qkv.{leaf}", ("query", "key", "value")
        ),
        "layers.{i}.attention.output.dense.{leaf}": "blocks.{i}.attn.proj.{leaf}",
        "layers.{i}.attention.output.LayerNorm.{leaf}": "blocks.{i}.norm1.{leaf}",
        "layers.{i}.intermediate.dense.{leaf}": "blocks.{i}.mlp.fc1.{leaf}",
        "layers.{i}.output.dense.{leaf}": "blocks.{i}.mlp.fc2.{leaf}",
        "layers.{i}.output.LayerNorm.{leaf}": "blocks.{i}.norm2.{leaf}",
        "visual_embed.patch_embed.proj.{leaf}": "patch_embed.proj.{leaf}",
        "visual_embed.patch_embed.pos_embed.weight": "pos_embed",
        "visual_embed.embeddings_type.weight": "input_norm.kind",
        "visual_embed.embeddings_norm.{leaf}": "input_norm.norm.{leaf}",
    }
    return KeyMap(rules, fresh, resize={"pos_embed": to_table}, unwrap="state_dict")


def to_table(positions: Tensor, shape: Size) -> Tensor:
    """Positions (G*G, D), which have no slot of a class token, as our table has them."""
    if positions.ndim == 2:
        positions = F.pad(positions, (0, 0, 1, 0))[None]  # (1, 1 + G*G, D)
    return resize_square_table(positions, shape)
