"""ViT-Adapter: a plain ViT beside a convolutional branch, joined by cross-attention."""

from backbones.options.vit_adapter import ViTAdapterOptions
from backbones.vit_adapter.backbone import ViTAdapter

__all__ = ["ViTAdapter", "ViTAdapterOptions"]
