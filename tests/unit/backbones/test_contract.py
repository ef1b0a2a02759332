"""Ours keep every promise that third parties' backbones make, in each form that computes otherwise.

Options stand above those of `tiny`; four blocks instead of twelve keep a check at two seconds. At
the whole tiny size, which is what `mimdet backbones check NAME` runs, it takes up to half a minute:

    pytest -m slow tests/unit/backbones/test_contract.py
"""

import pytest

from mimdet_cli import plugins
from mimdet_cli.conformance.check import check, check_backbone

FOUR = {"depth": 4}
FORMS = (
    ("mimdet", {**FOUR, "decoder_layers": 1, "drop_path": 0.1}),
    ("mimdet", {**FOUR, "decoder_layers": 1, "sampling": "grid", "fill": "mask", "norm": "ln"}),
    ("mimdet", {**FOUR, "decoder_layers": 0, "train_ratio": 1.0, "pyramid": "vit"}),
    ("mimdet", {**FOUR, "decoder_layers": 1, "stem": "convnext", "p5": "mean"}),
    ("vitdet", FOUR),
    ("vit_fpn", FOUR),
    ("vit_fpn", {**FOUR, "form": "conv", "drop_path": 0.1}),
    ("vit_adapter", {**FOUR, "drop_path": 0.1, "layer_scale": 1e-5}),
    ("vit_adapter", {**FOUR, "attention": "cswin", "parts": "injector", "neck": "conv"}),
    ("vit_adapter", {**FOUR, "interactions": 0}),
    ("timm_fpn", {"model": "convnext_atto", "width": None}),
    ("timm_fpn", {"model": "pvt_v2_b0", "width": None}),
    ("timm_fpn", {"model": "resnet10t", "width": None, "frozen_stages": 1, "frozen_bn": True}),
    ("timm_fpn", {}),
)


def test_every_backbone_of_ours_is_checked():
    ours = {registration.name for registration in plugins.registrations() if registration.ours}
    assert {name for name, _ in FORMS} == ours
    assert len(ours) >= 5


@pytest.mark.parametrize(("name", "options"), FORMS)
def test_every_promise_is_kept(name, options):
    report = check_backbone(plugins.load(name), options)
    assert report.kept, "\n".join(report.lines())


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted({name for name, _ in FORMS}))
def test_every_promise_is_kept_at_the_tiny_size(name):
    report = check(name)
    assert report.is_tiny
    assert report.kept, "\n".join(report.lines())
