"""Any plain ViT of timm as a backbone for mimdet: options, model, key maps."""

from mimdet_plain_vit.backbone import PlainViT
from mimdet_plain_vit.options import PlainViTOptions

__all__ = ["PlainViT", "PlainViTOptions"]
