"""Plain ViT of ViT-Adapter's rows "ViT": Li et al. 2021 with LayerScale, norms and any image size.

Paper: ViT-Adapter (arXiv:2205.08534), table 1, rows "ViT" (github.com/czczup/ViT-Adapter, fd64a51).

Shapes are those of `plain`.

Differs from upstream: blocks start from narrow normal values, upstream from PyTorch's.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from backbones.contract import Padding, ParameterRule
from backbones.key_maps.mae import from_hub, mae_encoder
from backbones.key_maps.mmdet_detectors import release_to_baseline
from backbones.key_maps.rename import KeyMap
from backbones.key_maps.timm_classifiers import timm_vit
from backbones.options.vit_fpn import ViTFPNOptions
from backbones.vit_fpn.plain import PRETRAINED, ViTFPN

NORM_EPS = 1e-6


def initialise_like_mmdet(module: nn.Module) -> None:
    """ViT-Adapter's initial values of convolutions: normal by fan-out; Xavier in the pyramid."""
    if isinstance(module, nn.ConvTranspose2d):
        fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels
        nn.init.normal_(module.weight, std=(2 / fan_out) ** 0.5)
    elif isinstance(module, nn.Conv2d):
        nn.init.xavier_uniform_(module.weight)
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d) and module.bias is not None:
        nn.init.zeros_(module.bias)


class ViTBaseline(ViTFPN, form="vit"):
    """The pyramid reads the last block of each quarter, after a LayerNorm per level."""

    layer_scale = 1.0

    def __init__(self, options: ViTFPNOptions) -> None:
        super().__init__(options)
        self.pos_embed = nn.Parameter(torch.empty(1, 1 + options.grid**2, options.width))
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        self.norms = nn.ModuleList(nn.LayerNorm(options.width, eps=NORM_EPS) for _ in range(4))
        self.scale.apply(initialise_like_mmdet)
        self.fpn.apply(initialise_like_mmdet)
        self.padding = Padding()

    @property
    def parameter_rules(self) -> tuple[ParameterRule, ...]:
        """The ViT is pre-trained; what is not decayed, by the names of the release.

        Positions, biases and the norms of the ViT, but neither LayerScale nor the norms of the
        pyramid.
        """
        if not self.options.decay_exceptions:
            return (ParameterRule(PRETRAINED, rate="pretrained"),)
        exempt_vit = ("pos_embed", "blocks.{i}.norm{k}.{rest}", "{patch_embed|blocks}.{path}.bias")
        exempt = ("norms.{rest}", "convs.{i}.norm{k}.{rest}", "{path}.bias")
        return (
            ParameterRule(exempt_vit, rate="pretrained", decay=False),
            ParameterRule(exempt, decay=False),
            ParameterRule(PRETRAINED, rate="pretrained", decay=True),
            ParameterRule("{rest}", decay=True),
        )

    @property
    def key_maps(self) -> Mapping[str, KeyMap]:
        """Layouts this backbone can start from."""
        fresh = ("blocks.{i}.ls{k:1|2}.gamma",)
        encoder = mae_encoder(fresh)
        return {
            "mae_encoder": encoder,
            "hf_mae": from_hub(encoder),
            "timm_vit": timm_vit(fresh),
            "vit_adapter_baseline": release_to_baseline(),
        }

    def scaled(self, grids: list[Tensor]) -> list[Tensor]:
        """Maps of strides 4, 8, 16 and 32, (B, D, H/s, W/s), of four grids."""
        return super().scaled([norm(grid) for norm, grid in zip(self.norms, grids, strict=True)])
