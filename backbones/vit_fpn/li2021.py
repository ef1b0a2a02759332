"""Plain ViT of Li et al. 2021: windows and four global blocks, relative biases, one square image.

Paper: Li et al., "Benchmarking Detection Transfer Learning with Vision Transformers"
(arXiv:2111.11429), section 3, as MIMDet re-implements it (github.com/hustvl/MIMDet, fb0aaa1).

Shapes are those of `plain`. All blocks share two tables of relative biases, one of the windows' and
one of the global blocks'.

Differs from upstream: images are padded with zeros, not with grey.
"""

from collections.abc import Mapping

from torch import Tensor, nn, zeros

from backbones.contract import Padding, ParameterRule
from backbones.key_maps.detectron2_detectors import release_to_li2021
from backbones.key_maps.mae import from_hub, mae_encoder
from backbones.key_maps.rename import KeyMap
from backbones.layers.block import apply_block
from backbones.layers.pos_embed import sine_cosine_table
from backbones.layers.relative_positions import table_bias
from backbones.options.transformer import PATCH, quarter_ends
from backbones.options.vit_fpn import ViTFPNOptions
from backbones.vit_fpn.plain import PRETRAINED, ViTFPN


def offset_table(side: int, heads: int) -> nn.Parameter:
    """A relative bias for every offset in a square of `side` tokens and every head."""
    return nn.Parameter(zeros((2 * side - 1) ** 2, heads))


class Li2021(ViTFPN, form="li2021"):
    """The pyramid reads the last block of each quarter; positions start as sines and cosines."""

    def __init__(self, options: ViTFPNOptions) -> None:
        super().__init__(options)
        table = sine_cosine_table(options.width, options.grid)[:, 1:]
        self.pos_embed = nn.Parameter(table.roll(options.width // 2, dims=2))  # rows, then columns
        has_windows, has_whole = options.window in self.windows, None in self.windows
        self.window_table = offset_table(options.window, options.heads) if has_windows else None
        self.global_table = offset_table(options.grid, options.heads) if has_whole else None
        self.padding = Padding(square=PATCH * options.grid)

    @property
    def parameter_rules(self) -> tuple[ParameterRule, ...]:
        """The ViT is pre-trained; the release does not decay positions and relative tables."""
        rest = ParameterRule(PRETRAINED, rate="pretrained")
        if not self.options.decay_exceptions:
            return (rest,)
        return (
            ParameterRule("pos_embed", rate="pretrained", decay=False),
            ParameterRule("{window|global}_table", decay=False),
            rest,
        )

    @property
    def key_maps(self) -> Mapping[str, KeyMap]:
        """Layouts this backbone can start from."""
        encoder = mae_encoder(fresh=("pos_embed",), positions=False)
        return {
            "mae_encoder": encoder,
            "hf_mae": from_hub(encoder),
            "li2021_release": release_to_li2021(),
        }

    def embed(self, images: Tensor) -> Tensor:
        """Patches with the positions of the one square, which have no slot of a class token."""
        grid = self.patch_embed(images)
        return grid + self.pos_embed.reshape(1, *grid.shape[1:])

    def tokens_of(self, images: Tensor) -> list[Tensor]:
        """Grids (B, h, w, D) after the last block of each quarter."""
        grid = self.embed(images)  # (B, 3, H, W) -> (B, h, w, D)
        biases = self.biases(*grid.shape[1:3])
        recompute, ends = self.options.checkpoint_activations, quarter_ends(self.options.depth)
        grids = []
        for i, (block, side) in enumerate(zip(self.blocks, self.windows, strict=True)):
            grid = apply_block(block, grid, biases[side], recompute=recompute)
            if i in ends:
                grids.append(grid)
        return grids

    def biases(self, height: int, width: int) -> dict[int | None, Tensor]:
        """What attention adds to its logits, by the window's side; computed once for all blocks."""
        side = self.options.window
        biases: dict[int | None, Tensor] = {}
        if self.window_table is not None:
            biases[side] = table_bias(self.window_table, side, side)
        if self.global_table is not None:
            biases[None] = table_bias(self.global_table, height, width)
        return biases
