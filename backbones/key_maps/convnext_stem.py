"""ConvNeXt classifiers in timm's layout for MIMDet's `convnext` stem (ConvNeXt-Large for Base).

The stem reads the patch layer, the first two stages and the step to the third; every other
parameter of the detector keeps the value it has, so that MAE weights may be loaded before.
"""

from backbones.key_maps.rename import Drop, KeyMap, Rule


def convnext_to_stem() -> KeyMap:
    """Map of the stem alone."""
    rules: dict[str, Rule] = {
        r"stem\.([01]\..*)": r"stem.patch.\1",
        r"(stages\.[01]\..*)": r"stem.\1",
        r"stages\.2\.downsample\.(.*)": r"stem.to_tokens.\1",
        r"stages\.[23]\..*": Drop("the encoder stands in place of the later stages"),
        r"(head|norm_pre)\..*": Drop("images are not classified"),
    }
    return KeyMap(rules=rules, fresh=(r"(encoder|decoder)\..*",), unwrap="model")
