"""Every backbone learns: a tiny variant of each, from random weights, on generated shapes.

The recipes are in `tests/zoo_recipes`, one for each registered backbone. Each run is the installed
command, 400 or 600 steps of 8 images of 128 pixels, a few minutes on two CPU cores:

    pytest -m slow tests/e2e/test_backbones_learn.py

The box AP of every run is printed as it ends. A cascade is compared with the plain head over three
seeds, since one run says little: its mean may be one point lower at most.
"""

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

import pytest
from detectors import completed, shapes_of

from mimdet_cli import plugins

RECIPES = Path(__file__).resolve().parents[1] / "zoo_recipes"
BACKBONES = sorted(path.stem for path in RECIPES.glob("*.yaml") if path.stem != "base")
LEAST_AP = 20.0
CASCADE_MARGIN = 1.0
SEEDS = (0, 1, 2)
MINUTES = 60


@pytest.fixture(scope="module")
def mimdet():
    """Run the command in a separate process; returns its standard output."""

    def run(*arguments):
        done = subprocess.run(
            [sys.executable, "-m", "mimdet_cli", *map(str, arguments)],
            env={**os.environ, "COLUMNS": "100"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture(scope="module")
def data(mimdet, tmp_path_factory):
    """The generated data set of `mimdet data demo`, of its usual size."""
    folder = tmp_path_factory.mktemp("data") / "shapes"
    mimdet("data", "demo", folder)
    return folder


@pytest.fixture
def tell(request, capfd):
    """Print a line past pytest's capturing."""
    reporter = request.config.pluginmanager.getplugin("terminalreporter")

    def line(text):
        with capfd.disabled():
            reporter.ensure_newline()
            reporter.write_line(text)

    return line


@pytest.fixture
def box_ap(mimdet, data, tmp_path, tell):
    """Train a tiny recipe; the box AP at its end, which is also printed."""

    def trained(name, seed, *sets):
        out = tmp_path / f"{name}-{seed}-{len(sets)}"
        changes = [word for one in sets for word in ("--set", one)]
        recipe = RECIPES / f"{name}.yaml"
        report = mimdet(
            "train", recipe, "--data", data, "--out", out, "--seed", seed, "--json", *changes
        )
        found = json.loads(report)
        ap = found["ap"]["box_ap"]
        label = " ".join((name, f"seed {seed}", *sets))
        tell(f"{label}: box AP {ap:.1f} after {found['train_s']:.0f} s")
        return ap

    return trained


def test_every_registered_backbone_has_a_tiny_recipe_that_can_be_built():
    assert plugins.names() == BACKBONES
    for name in BACKBONES:
        recipe = completed(RECIPES / f"{name}.yaml")
        assert recipe.backbone.name == name
        detector = shapes_of(recipe, classes=3)
        assert sum(p.numel() for p in detector.parameters()) < 8e6


@pytest.mark.slow
@pytest.mark.timeout(MINUTES * 60)
@pytest.mark.parametrize("name", BACKBONES)
def test_a_tiny_variant_learns_the_generated_shapes(name, box_ap):
    assert box_ap(name, 0) > LEAST_AP


@pytest.mark.slow
@pytest.mark.timeout(2 * len(SEEDS) * MINUTES * 60)
def test_a_cascade_is_no_worse_than_the_plain_head_over_three_seeds(box_ap, tell):
    plain = [box_ap("mimdet", seed) for seed in SEEDS]
    cascade = [box_ap("mimdet", seed, "head.cascade=true") for seed in SEEDS]
    means = statistics.mean(plain), statistics.mean(cascade)
    tell(f"mean box AP: plain {means[0]:.1f} {plain}, cascade {means[1]:.1f} {cascade}")
    assert means[1] >= means[0] - CASCADE_MARGIN, (plain, cascade)
