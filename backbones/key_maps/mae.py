"""MAE's pre-training checkpoints, in the authors' layout and in the Hugging Face Hub's.

Paper: He et al. (arXiv:2111.06377). Encoder names are timm's. MIMDet replaces the patch embedding
by a convolutional stem, has no class token, and reads the first decoder blocks only, or none; with
stem filling it has no [MASK] vector either.

The Hub's files (`facebook/vit-mae-*`) carry the names of transformers 4; those of transformers 5
are read as well. Queries, keys and values are three layers there and one here, in that order.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from backbones.key_maps.rename import Drop, KeyMap, Rule, Stack
from backbones.key_maps.timm_classifiers import CLASS_TOKEN, FINAL_NORM, VIT_LAYERS
from backbones.layers.patch_embed import resize_patches
from backbones.layers.pos_embed import resize_square_table


def mae_encoder(fresh: tuple[str, ...], *, positions: bool = True) -> KeyMap:
    """For a plain ViT: the encoder; a decoder beside it, if any, is dropped.

    `fresh` are templates of our names in its blocks that MAE lacks; `positions` says whether the
    stored position table is used.
    """
    pixels = Drop("pixels are not predicted")
    rules: dict[str, Rule] = {
        **{layer: layer for layer in VIT_LAYERS},
        "pos_embed": "pos_embed" if positions else Drop("positions are computed"),
        "cls_token": CLASS_TOKEN,
        "norm.{rest}": FINAL_NORM,
        "decoder_{rest}": pixels,
        "mask_token": pixels,
    }
    resize = {"pos_embed": resize_square_table, "patch_embed.proj.weight": resize_patches}
    return KeyMap(rules, fresh, resize, unwrap="model")


def mae_to_mimdet(decoder_layers: int, stem_filled: bool) -> KeyMap:
    """For a MIMDet with `decoder_layers` decoder blocks, stem-filled or [MASK]-filled."""
    if not decoder_layers:
        return _to_mimdet(_no_decoder("there is no decoder"), ())
    first = "|".join(str(i) for i in range(decoder_layers))
    of_decoder: dict[str, Rule] = {
        "decoder_pos_embed": "decoder.pos_embed",
        "decoder_{embed|norm}.{rest}": "decoder.{embed|norm}.{rest}",
        f"decoder_blocks.{{first:{first}}}.{{rest}}": "decoder.blocks.{first}.{rest}",
        "decoder_blocks.{i}.{rest}": Drop(
            f"only the first {decoder_layers} decoder blocks are used"
        ),
        "decoder_pred.{rest}": Drop("pixels are not predicted"),
        "mask_token": Drop("stem features fill instead") if stem_filled else "decoder.mask_token",
    }
    return _to_mimdet(of_decoder, ("decoder.stem_proj.{rest}",))


def mae_encoder_to_mimdet() -> KeyMap:
    """For a MIMDet whose decoder starts from random weights, for the ablation of that.

    The file may hold a decoder or not.
    """
    return _to_mimdet(_no_decoder("the decoder starts from random weights"), ("decoder.{rest}",))


def _no_decoder(reason: str) -> dict[str, Rule]:
    return {"decoder_{rest}": Drop(reason), "mask_token": Drop(reason)}


def _to_mimdet(of_decoder: Mapping[str, Rule], fresh: tuple[str, ...]) -> KeyMap:
    rules: dict[str, Rule] = {
        "pos_embed": "encoder.pos_embed",
        "blocks.{i}.{rest}": "encoder.blocks.{i}.{rest}",
        "norm.{rest}": "encoder.norm.{rest}",
        "patch_embed.{rest}": Drop("replaced by the convolutional stem"),
        "cls_token": CLASS_TOKEN,
        **of_decoder,
    }
    return KeyMap(
        rules,
        fresh=("stem.{rest}", *fresh),
        resize={"{encoder|decoder}.pos_embed": resize_square_table},
        unwrap="model",
    )


_BLOCK: Final = {  # of transformers 4, then those that 5 calls otherwise
    "layernorm_before": "norm1",
    "layernorm_after": "norm2",
    "attention.output.dense": "attn.proj",
    "intermediate.dense": "mlp.fc1",
    "output.dense": "mlp.fc2",
    "attention.o_proj": "attn.proj",
    "mlp.fc1": "mlp.fc1",
    "mlp.fc2": "mlp.fc2",
}


def _block_rules(theirs: str, ours: str) -> dict[str, Rule]:
    """Rules of the numbered blocks that are called `theirs` on the Hub and `ours` in MAE."""
    qkv = f"{ours}.{{i}}.attn.qkv.{{leaf}}"
    return {
        **{
            f"{theirs}.{{i}}.{name}.{{leaf}}": f"{ours}.{{i}}.{mae}.{{leaf}}"
            for name, mae in _BLOCK.items()
        },
        f"{theirs}.{{i}}.attention.attention.{{part}}.{{leaf}}": Stack(
            qkv, ("query", "key", "value")
        ),
        f"{theirs}.{{i}}.attention.{{part}}.{{leaf}}": Stack(qkv, ("q_proj", "k_proj", "v_proj")),
    }


HUB_TO_MAE: Final = KeyMap(
    {
        "vit.embeddings.cls_token": "cls_token",
        "vit.embeddings.position_embeddings": "pos_embed",
        "vit.embeddings.patch_embeddings.projection.{leaf}": "patch_embed.proj.{leaf}",
        **_block_rules("vit.encoder.layer", "blocks"),
        **_block_rules("vit.layers", "blocks"),
        "vit.layernorm.{leaf}": "norm.{leaf}",
        **_block_rules("decoder.decoder_layers", "decoder_blocks"),
        "decoder.{mask_token|decoder_pos_embed}": "{mask_token|decoder_pos_embed}",
        "decoder.decoder_{embed|norm|pred}.{leaf}": "decoder_{embed|norm|pred}.{leaf}",
    }
)
"""From the Hub's layout to that of MAE's repository, encoder and decoder."""


def from_hub(of_mae: KeyMap) -> KeyMap:
    """The map of a Hub file for what reads MAE's own layout by `of_mae`."""
    return replace(of_mae, through=HUB_TO_MAE)
