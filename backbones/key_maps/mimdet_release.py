"""Released MIMDet detectors (both fillings): backbone names; the head's are detectron2's."""

from backbones.key_maps.rename import KeyMap

LEVEL_OF = {"2": "0", "3": "1", "4": "2", "5": "3"}


def release_to_mimdet() -> KeyMap:
    """Map of a whole detector file; our names carry the `backbone.` prefix."""
    up, ours = r"backbone\.bottom_up\.", "backbone."
    rules = {
        rf"{up}encoder\.patch_embed\.proj\.3\.3\.(.*)": rf"{ours}stem.to_tokens.\1",
        rf"{up}encoder\.patch_embed\.proj\.(\d)\.([01])\.(.*)": rf"{ours}stem.stages.\1.\2.\3",
        rf"{up}encoder\.(.*)": rf"{ours}encoder.\1",
        rf"{up}decoder\.conv_feat_proj\.(.*)": rf"{ours}decoder.stem_proj.\1",
        rf"{up}decoder\.mask_token": rf"{ours}decoder.mask_token",
        rf"{up}decoder\.decoder_(.*)": rf"{ours}decoder.\1",
    }
    for level, index in LEVEL_OF.items():
        for kind in ("lateral", "output"):
            name = rf"backbone\.fpn_{kind}{level}"
            rules[rf"{name}\.norm\.(.*)"] = rf"{ours}fpn.{kind}.{index}.norm.\1"
            rules[rf"{name}\.(weight|bias)"] = rf"{ours}fpn.{kind}.{index}.conv.\1"
    return KeyMap(rules=rules, head="detectron2", unwrap="model")
