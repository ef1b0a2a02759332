"""MIMDet: a MAE-pre-trained ViT that sees a random share of the tokens, and a hybrid pyramid.

Paper: Fang et al., "Unleashing Vanilla Vision Transformer with Masked Image Modeling for Object
Detection", ICCV 2023 (arXiv:2204.02964), section 2 and figure 1 (b). The options of its ablations:
tables 1 and 3 (ratios, sampling), 5 (stem), 6 (fill), 7 (decoder layers), 8 (input, pyramid).
Everywhere in this project its sections, figures and tables have their numbers in the arXiv version.

Shapes, for B images of H x W pixels, N = H/16 * W/16 tokens of width D, K of them kept:
    stem     (B, D/4, H/4, W/4), (B, D/2, H/8, W/8), tokens (B, D, H/16, W/16)
    encoder  (B, K, D) in the order of sampling
    decoder  (B, N, E) in raster order, E the decoder's width
    p2..p5   (B, C, H/s, W/s) with s = 4, 8, 16, 32
Without a decoder E is D, and the encoder's output goes to p4 and p5 instead.

Differs from upstream (github.com/hustvl/MIMDet, fb0aaa1): tokens are not permuted when all are
kept, which changes nothing but the order of sums; and the stem's features are projected for the
unsampled tokens alone, the only ones they fill. Grid sampling, the ConvNeXt stem, windows and the
pyramid of the ViT's own maps are in the paper, not in that code. The last row of table 8 says
neither which maps it takes nor how they are enlarged; here they are those of Li et al. 2021, the
first quarter's for stride 4 and the second's for stride 8, by deconvolutions of width D:
120,734,800 parameters (paper: 120 M), where the row before has 113,407,312 (113 M).
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from backbones.contract import Backbone, Level, Padding, ParameterRule
from backbones.key_maps.detectron2_detectors import release_to_mimdet
from backbones.key_maps.mae import from_hub, mae_encoder_to_mimdet, mae_to_mimdet
from backbones.key_maps.rename import KeyMap
from backbones.key_maps.timm_classifiers import convnext_to_stem
from backbones.mimdet.autoencoder import make_decoder, make_encoder
from backbones.mimdet.pyramid import PooledFPN, make_fine_maps
from backbones.mimdet.sampling import SAMPLERS
from backbones.mimdet.stem import STEMS
from backbones.options.mimdet import MIMDetOptions
from backbones.options.transformer import PATCH, TINY_PYRAMID, TINY_VIT


def to_tokens(maps: Tensor) -> Tensor:
    """A map (B, D, h, w) as tokens (B, N, D) in raster order."""
    return maps.flatten(2).transpose(1, 2)


def to_grid(tokens: Tensor, h: int, w: int) -> Tensor:
    """Tokens (B, N, E) in raster order as a map (B, E, h, w)."""
    return tokens.transpose(1, 2).reshape(len(tokens), -1, h, w)


class MIMDet(Backbone):
    """Convolutional stem, sampled encoder, decoder, and a pyramid over stem and decoder maps."""

    Options = MIMDetOptions
    options: MIMDetOptions
    padding = Padding(multiple=32)

    def __init__(self, options: MIMDetOptions) -> None:
        super().__init__(options)
        self.stem = STEMS[options.stem](options.width)
        self.encoder = make_encoder(options)
        self.decoder = make_decoder(options)
        self.raised = make_fine_maps(options, self.stem.channels)
        self.fpn = PooledFPN(self.raised.channels, self.decoder.width, options)
        self.levels = tuple(Level(f"p{i}", options.channels, 2**i) for i in (2, 3, 4, 5))
        self.sampler = SAMPLERS[options.sampling]

    @classmethod
    def tiny(cls, options: Mapping[str, Any]) -> Mapping[str, Any]:
        """The shared small ViT, with a decoder as wide."""
        return {
            **TINY_VIT,
            **TINY_PYRAMID,
            "decoder_width": TINY_VIT["width"],
            "decoder_heads": TINY_VIT["heads"],
        }

    @property
    def parameter_rules(self) -> tuple[ParameterRule, ...]:
        """The stem has the plain rate, the encoder the pre-trained one, the rest the task's."""
        return (
            ParameterRule("stem.{rest}", rate="plain"),
            ParameterRule("encoder.{rest}", rate="pretrained"),
        )

    def is_pretrained(self, name: str) -> bool:
        """Encoder and decoder, whichever rate they learn at; of the stems, only ConvNeXt's."""
        stem = ("stem.",) if self.options.stem == "convnext" else ()
        return name.startswith(("encoder.", "decoder.", *stem))

    @property
    def key_maps(self) -> Mapping[str, KeyMap]:
        """Layouts this backbone can start from; those of the encoder leave the decoder random."""
        chosen = self.options
        whole = mae_to_mimdet(chosen.decoder_layers, chosen.fill == "stem")
        encoder = mae_encoder_to_mimdet()
        maps = {
            "mae": whole,
            "hf_mae": from_hub(whole),
            "mae_encoder": encoder,
            "hf_mae_encoder": from_hub(encoder),
        }
        if chosen.stem == "convnext":
            return maps | {"convnext_stem": convnext_to_stem()}
        if chosen.decoder_layers == 0 or chosen.pyramid == "vit":
            return maps  # no detector of that shape was released
        return maps | {"mimdet_release": release_to_mimdet()}

    @property
    def depth(self) -> int:
        """Encoder blocks and one: the depth of decoder and pyramid."""
        return self.options.depth + 1

    def depth_of(self, name: str) -> int:
        """0 for stem and positions, i + 1 for encoder block i, `depth` for the rest."""
        if name.startswith(("stem.", "encoder.pos_embed")):
            return 0
        if name.startswith("encoder.blocks."):
            return int(name.split(".")[2]) + 1
        return self.depth

    def forward(self, images: Tensor, sizes: Tensor) -> dict[str, Tensor]:
        """Pyramid maps; `images` (B, 3, H, W) with sides divisible by 32."""
        *stem_maps, token_map = self.stem(images)
        h, w = token_map.shape[-2:]
        tokens = to_tokens(token_map)  # (B, D, h, w) -> (B, N, D)
        positioned = tokens + self.encoder.positions(h, w)
        sample = self.sampler.sample(tokens, sizes, h, w, self.ratio)
        *within, encoded = self.encoder(sample.keep(positioned), h, w)  # (B, K, D)
        filled = self.decoder.fill(encoded, tokens, sample)  # (B, K, D) -> (B, N, E)
        decoded = self.decoder(filled, h, w)
        fine = self.raised(stem_maps, [to_grid(x, h, w) for x in within])
        maps = self.fpn([*fine, to_grid(decoded, h, w)])
        return {level.name: x for level, x in zip(self.levels, maps, strict=True)}

    @property
    def ratio(self) -> float:
        """Share of the tokens that the encoder sees in the present mode."""
        return self.options.train_ratio if self.training else self.options.eval_ratio

    def tokens_seen(self, height: int, width: int) -> tuple[int, int]:
        """Tokens of a canvas of height x width pixels that the encoder sees, and all of them."""
        h, w = height // PATCH, width // PATCH
        return self.sampler.kept(h, w, self.ratio), h * w
