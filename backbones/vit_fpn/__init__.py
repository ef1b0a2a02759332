"""Plain ViT with a feature pyramid network, in the three published forms of this baseline.

Papers: Li et al. 2021 (arXiv:2111.11429); ViT-Adapter (arXiv:2205.08534), table 1, rows "ViT" and
"ViTDet".

                      li2021                  vit                     conv
    class             Li2021                  ViTBaseline             ViTDetBaseline
    maps from         block of each quarter   block of each quarter   last block, four times
    norm before       none                    LayerNorm per level     LayerNorm per level
    relative biases   two tables, all blocks  none                    none
    LayerScale        none                    from 1                  from 1
    convolutions      none                    none                    residual, after four blocks
    positions         sine-cosine, learned    learned                 learned
    padding           one square              multiple of 32          multiple of 32

`ViTFPN(options)`, the backbone `vit_fpn`, makes an instance of the class of `options.form`.
"""

from backbones.options.vit_fpn import ViTFPNOptions
from backbones.vit_fpn.li2021 import Li2021
from backbones.vit_fpn.plain import ViTFPN
from backbones.vit_fpn.vit_baseline import ViTBaseline
from backbones.vit_fpn.vitdet_baseline import ViTDetBaseline

__all__ = ["Li2021", "ViTBaseline", "ViTDetBaseline", "ViTFPN", "ViTFPNOptions"]
