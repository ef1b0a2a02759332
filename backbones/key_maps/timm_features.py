"""timm's own checkpoints (as on the Hub, with their classifier) for a feature model with an FPN."""

from collections.abc import Iterable, Mapping

from backbones.key_maps.rename import Drop, KeyMap, Rule


def timm_to_features(parts: Iterable[str], left_out: Mapping[str, str]) -> KeyMap:
    """Map for a model of which `parts` are kept; `left_out` names parts, with the reasons."""
    rules: dict[str, Rule] = {
        r".*\.(relative_position_index|attn_mask)": Drop("computed, not learned"),
    }
    rules |= {rf"{part}\..*": Drop(reason) for part, reason in left_out.items()}
    rules[rf"((?:{'|'.join(parts)})(?:\..*)?)"] = r"body.\1"
    return KeyMap(rules)
