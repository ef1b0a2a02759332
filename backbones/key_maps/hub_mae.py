"""MAE in the layout of the Hugging Face Hub (`facebook/vit-mae-*`): its names, and MAE's own.

The files carry the names of transformers 4; those of transformers 5 are read as well. Queries,
keys and values are three layers there and one here, in that order.
"""

from dataclasses import replace

from backbones.key_maps.rename import KeyMap, Rule, Stack

_LEAF = r"(?P<leaf>weight|bias)"
_V4_PARTS = ("query", "key", "value")
_V5_PARTS = ("q_proj", "k_proj", "v_proj")
_BLOCK = {  # of transformers 4, then those that 5 calls otherwise
    r"layernorm_before": "norm1",
    r"layernorm_after": "norm2",
    r"attention\.output\.dense": "attn.proj",
    r"intermediate\.dense": "mlp.fc1",
    r"output\.dense": "mlp.fc2",
    r"attention\.o_proj": "attn.proj",
    r"mlp\.fc1": "mlp.fc1",
    r"mlp\.fc2": "mlp.fc2",
}


def _block_rules(theirs: str, ours: str) -> dict[str, Rule]:
    """Rules of numbered blocks; `theirs` is a pattern up to the block's number."""
    block, target = rf"{theirs}\.(?P<i>\d+)\.", rf"{ours}.\g<i>."
    rules: dict[str, Rule] = {
        rf"{block}{name}\.{_LEAF}": rf"{target}{mae}.\g<leaf>" for name, mae in _BLOCK.items()
    }
    for prefix, parts in ((r"attention\.attention", _V4_PARTS), ("attention", _V5_PARTS)):
        pattern = rf"{block}{prefix}\.(?P<part>{'|'.join(parts)})\.{_LEAF}"
        rules[pattern] = Stack(rf"{target}attn.qkv.\g<leaf>", parts)
    return rules


HUB_TO_MAE = KeyMap(
    {
        r"vit\.embeddings\.cls_token": "cls_token",
        r"vit\.embeddings\.position_embeddings": "pos_embed",
        rf"vit\.embeddings\.patch_embeddings\.projection\.{_LEAF}": r"patch_embed.proj.\g<leaf>",
        **_block_rules(r"vit\.(?:encoder\.layer|layers)", "blocks"),
        rf"vit\.layernorm\.{_LEAF}": r"norm.\g<leaf>",
        **_block_rules(r"decoder\.decoder_layers", "decoder_blocks"),
        r"decoder\.(mask_token|decoder_pos_embed)": r"\1",
        rf"decoder\.(decoder_(?:embed|norm|pred))\.{_LEAF}": r"\1.\g<leaf>",
    }
)
"""Map from the Hub's layout to that of MAE's repository, encoder and decoder."""


def from_hub(of_mae: KeyMap) -> KeyMap:
    """The map of a Hub file for who reads MAE's own layout by `of_mae`."""
    return replace(of_mae, through=HUB_TO_MAE)
