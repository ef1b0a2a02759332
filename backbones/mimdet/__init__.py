"""MIMDet: a ViT that sees a sample of the tokens, and a hybrid pyramid."""

from backbones.mimdet.backbone import MIMDet
from backbones.options.mimdet import MIMDetOptions

__all__ = ["MIMDet", "MIMDetOptions"]
