"""Plain ViT with a feature pyramid network, in three published forms."""

from backbones.options.vit_fpn import ViTFPNOptions
from backbones.vit_fpn.backbone import ViTFPN

__all__ = ["ViTFPN", "ViTFPNOptions"]
