"""Every shipped recipe: its parameter count at full size, and one training step at reduced size."""

import math

import pytest
import torch
from detectors import completed, detector_of, shapes_of
from zoo import SMALL, SMALL_DATA, SMALL_HEAD, SMALL_TIMM, photographs, targets

from mimdet_cli.recipe.catalog import shipped_names
from mimdet_cli.recipe.load import load_recipe

MEASURED = {
    "base_50pct": 127_954_768,
    "large_50pct": 349_332_080,
    "base_12pct": 127_561_552,
    "base_100pct": 127_561_552,
    "vitdet_base_100ep": 110_895_792,
    "vitdet_large_100ep": 330_684_656,
    "vitdet_base_cascade_100ep": 141_160_990,
    "vitdet_large_cascade_100ep": 360_949_854,
    "vit_fpn_base_100ep": 118_674_184,
}
PUBLISHED_MILLIONS = {  # ViT-Adapter, Table 1
    "vit_tiny_3x": 26.1,
    "vit_small_1x": 43.8,
    "vit_base_3x": 113.6,
    "vit_large_3x": 337.3,
    "vitdet_conv_tiny_1x": 26.6,
    "vitdet_conv_small_3x": 45.7,
    "vitdet_conv_base_3x": 121.3,
    "vitdet_conv_large_3x": 350.9,
    "vit_adapter_tiny_3x": 28.1,
    "vit_adapter_small_1x": 47.8,
    "vit_adapter_base_3x": 120.2,
    "vit_adapter_large_3x": 347.9,
    "swin_tiny_3x": 47.8,
    "pvtv2_b1_1x": 33.7,
    "pvtv2_b5_3x": 101.6,
    "swin_base_3x": 107.1,
    "convnext_tiny_3x": 48.1,
    "pvtv2_b2_3x": 45.0,
}


def parameters(name):
    return sum(parameter.numel() for parameter in shapes_of(name).parameters())


@pytest.mark.parametrize(("name", "count"), MEASURED.items())
def test_parameters_equal_those_measured_on_the_official_models(name, count):
    assert parameters(name) == count


@pytest.mark.parametrize(("name", "millions"), PUBLISHED_MILLIONS.items())
def test_parameters_round_to_the_published_figure(name, millions):
    assert math.isclose(parameters(name) / 1e6, millions, abs_tol=0.055)


def reduced(name):
    """The recipe with its backbone and head shrunk, everything else as it is."""
    recipe = load_recipe(name).recipe
    kind = recipe.backbone.name
    small = SMALL[kind]
    if kind == "timm_fpn":
        model = recipe.backbone.values["model"]
        small = small | {"model": next(v for k, v in SMALL_TIMM.items() if model.startswith(k))}
    data = SMALL_DATA if recipe.data.jitter is None else SMALL_DATA | {"jitter.size": 128}
    sections = {"backbone": small, "head": SMALL_HEAD, "data": data}
    sets = [
        f"{part}.{key}={value}"
        for part, values in sections.items()
        for key, value in values.items()
    ]
    return completed(name, *sets, "init.weights=null")


RECIPES = shipped_names()


def test_the_list_of_recipes_is_not_short():
    assert len(RECIPES) >= 50


@pytest.mark.parametrize("name", RECIPES)
def test_one_forward_and_backward_reaches_every_learning_parameter(name):
    recipe = reduced(name)
    detector = detector_of(recipe).train()
    torch.manual_seed(0)
    losses = detector(photographs(), targets())
    total = sum(losses.values())
    assert torch.isfinite(total)
    total.backward()
    missing = [n for n, p in detector.named_parameters() if p.requires_grad and p.grad is None]
    whole = recipe.backbone.values.get("train_ratio") == 1.0
    unused = {"backbone.decoder.mask_token"} if whole else set()  # nothing is left to fill
    assert set(missing) <= unused
