"""timm's hierarchical feature models with a feature pyramid network."""

from backbones.options.timm_fpn import TimmFPNOptions
from backbones.timm_fpn.backbone import TimmFPN

__all__ = ["TimmFPN", "TimmFPNOptions"]
