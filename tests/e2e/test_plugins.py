"""Packages of third parties, built and installed by pip: a good one is used like ours, broken ones
affect no command that does not name them. `plugins/packages.py` has their sources."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from traceback import format_exception

import pytest
import torch
from detectors import completed, detector_of
from e2e.plugins.packages import BAD, FAULTS, install_packages
from safetensors.torch import save_file

from mimdet_cli.engine.optim import rates
from mimdet_cli.errors import PluginError
from mimdet_cli.plugin_api import promises
from mimdet_cli.plugins import SWITCH

BLOCK = {
    "norm1": (32,),
    "attn.qkv": (96, 32),
    "attn.proj": (32, 32),
    "norm2": (32,),
    "mlp.fc1": (128, 32),
    "mlp.fc2": (32, 128),
}
"""Shapes of the weights of a block of a ViT of width 32, named as in timm."""


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of import folders, each with really built and installed packages."""
    root = tmp_path_factory.mktemp("plugins")
    install_packages(root)
    return root


@pytest.fixture
def on_path(sites, monkeypatch):
    """Put groups of packages on the import path; what a test imports of them is forgotten."""
    monkeypatch.delenv(SWITCH, raising=False)

    def put(*groups: str) -> None:
        for group in groups:
            monkeypatch.syspath_prepend(sites / group)

    yield put
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None)).startswith(str(sites)):
            del sys.modules[name]


def imported(sites: Path, group: str) -> list[str]:
    return sorted(file.stem for file in (sites / group).glob("*.imported"))


def recipe_of(tmp_path: Path, name: str, *lines: str) -> Path:
    file = tmp_path / "mine.yaml"
    file.write_text("\n".join(["backbone:", f"  name: {name}", *lines]) + "\n")
    return file


def small(sites: Path, *sets: str) -> list[str]:
    """Words that train the new package's recipe for two steps."""
    changes = (
        "backbone.width=32", "backbone.depth=2", "backbone.channels=16", "train.steps=2",
        "train.batch=2", "train.evals=1", "head.channels=16", "head.fc_channels=32",
        "optimizer.warmup_images=2", "head.rpn_post_nms_train=20", "head.roi_batch=16", *sets,
    )  # fmt: skip
    recipe = sites / "source" / "my_net" / "recipe.yaml"
    return [str(recipe), *(word for change in changes for word in ("--set", change))]


def test_new_package_passes_its_own_tests_as_it_is_written(sites):
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "ignore", "tests"],
        cwd=sites / "source" / "my_net",
        env={**os.environ, "PYTHONPATH": str(sites / "good")},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout
    passed = re.search(r"^(\d+) passed in ", done.stdout, flags=re.MULTILINE)
    assert passed
    assert int(passed[1]) == len(promises()) + 1


def test_new_package_keeps_every_promise(mimdet, on_path):
    on_path("good")
    outcome = mimdet("backbones", "check", "my_net", "--json")
    assert (outcome.code, outcome.err) == (0, "")
    report = json.loads(outcome.out)
    assert report["source"] == "mimdet_my_net:MyNet of mimdet-my-net 0.1.0"
    assert [one["status"] for one in report["promises"]] == ["kept"] * len(promises())


def test_commands_that_name_no_plugin_import_none_of_the_broken_ones(
    mimdet, sites, on_path, tiny, shapes, tmp_path
):
    on_path("bad", "rivals", "slow")
    run = tmp_path / "run"
    commands = [
        ("backbones", "ls"),
        ("backbones", "ls", "--json"),
        ("recipe", "ls"),
        ("recipe", "schema"),
        ("recipe", "schema", "--backbone", "vitdet"),
        ("recipe", "check", "vitdet_base_100ep"),
        ("zoo",),
        ("train", tiny, "--data", shapes, "--out", run, "--set", "train.steps=2"),
        ("eval", run),
        ("train", tiny, "--data", shapes, "--out", run, "--set", "train.steps=2", "--resume"),
    ]
    assert [mimdet(*command).code for command in commands] == [0] * len(commands)
    assert [imported(sites, group) for group in ("bad", "rivals", "slow")] == [[], [], []]
    plugins = json.loads((run / "environment.json").read_text())["plugins"]
    assert plugins["twin-one:twin"] == "Twin.One 1.0"
    assert plugins["needs"] == "mimdet-needs 1.0"


@pytest.mark.parametrize("name", FAULTS)
def test_broken_plugin_fails_the_command_that_names_it_with_code_5(
    mimdet, sites, on_path, tmp_path, name
):
    on_path("bad")
    outcome = mimdet("recipe", "check", recipe_of(tmp_path, name))
    assert (outcome.code, outcome.out) == (5, "")
    reason, place = FAULTS[name]
    what, where, fix = outcome.err.splitlines()
    assert what.startswith(f"error: the backbone '{name}' {reason}")
    distribution = f"mimdet-{name}"
    assert where.endswith(f"{place} {distribution} 1.0")
    assert fix.startswith("  fix: ")
    if "line" in place:
        file = sites / "bad" / f"mimdet_{name}.py"
        assert where == f"  at:  {file}{place} {distribution} 1.0"


@pytest.mark.parametrize(("name", "end"), [("crashes", "SIGSEGV"), ("leaves", "exit code 0")])
def test_plugin_that_ends_its_process_does_not_end_the_command(
    mimdet, on_path, tmp_path, name, end
):
    on_path("bad")
    outcome = mimdet("recipe", "check", recipe_of(tmp_path, name))
    assert (outcome.code, outcome.out) == (5, "")
    assert outcome.err == (
        f"error: the backbone '{name}' cannot be loaded: its import ended the process: {end}\n"
        f"  at:  mimdet_{name}:Theirs of mimdet-{name} 1.0\n"
        "  fix: repair or uninstall that distribution; use `--traceback` to see where it fails.\n"
    )


def test_listing_loads_each_apart_and_shows_broken_ones_as_broken(sites):
    done = subprocess.run(
        [sys.executable, "-m", "mimdet_cli", "backbones", "ls", "--load", "--json"],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(map(str, (sites / "good", sites / "bad"))),
        },
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (done.returncode, done.stderr) == (0, "")
    rows = {row["name"]: row for row in json.loads(done.stdout)}
    ours = ("mimdet", "timm_fpn", "vit_adapter", "vit_fpn", "vitdet")
    assert [name for name, row in rows.items() if row["state"] == "loads"] == [*ours, "my_net"]
    assert [name for name, row in rows.items() if row["state"] == "broken"] == sorted(BAD)
    for name, (reason, place) in FAULTS.items():
        assert reason in rows[name]["reason"]
        assert place in rows[name]["where"]
    assert rows["crashes"]["reason"] == "its import ended the process: SIGSEGV"
    assert rows["leaves"]["reason"] == "its import ended the process: exit code 0"
    assert rows["needs"] == {
        "name": "needs",
        "write": "needs",
        "distribution": "mimdet-needs",
        "version": "1.0",
        "value": "mimdet_needs:Theirs",
        "state": "broken",
        "reason": "the backbone 'needs' cannot be loaded: ModuleNotFoundError: No module named "
        "'not_installed_anywhere'",
        "where": f"{sites / 'bad' / 'mimdet_needs.py'}, line 3, of mimdet-needs 1.0",
    }


def test_plugin_that_fails_when_it_is_built_is_named_with_its_line(
    mimdet, sites, on_path, shapes, tmp_path
):
    on_path("late")
    _, *sets = small(sites)
    run = tmp_path / "run"
    recipe = recipe_of(tmp_path, "late")
    outcome = mimdet("train", recipe, "--data", shapes, "--out", run, *sets)
    assert (outcome.code, outcome.out) == (5, "")
    file = sites / "late" / "mimdet_late.py"
    source = file.read_text().splitlines()
    line = 1 + next(i for i, text in enumerate(source) if "no weights at hand" in text)
    assert outcome.err.splitlines()[-3:] == [
        "error: the backbone 'late' failed: ValueError: no weights at hand",
        f"  at:  {file}, line {line}, of mimdet-late 1.0",
        "  fix: run `mimdet backbones check mimdet-late:late`, or use `--traceback`.",
    ]


def test_rule_that_is_a_regular_expression_is_refused_with_an_example_of_a_template(
    mimdet, sites, on_path, shapes, tmp_path
):
    on_path("late")
    _, *sets = small(sites)
    recipe = recipe_of(tmp_path, "late_regex")
    outcome = mimdet("train", recipe, "--data", shapes, "--out", tmp_path / "run", *sets)
    assert outcome.code == 5
    what, where, _ = outcome.err.splitlines()[-3:]
    assert what.startswith("error: the backbone 'late_regex' failed: TemplateError: '(patch_embed|")
    assert what.endswith("; write a template such as 'blocks.{i}.{norm1|norm2}.{leaf}'.")
    assert where.startswith(f"  at:  {sites / 'late' / 'mimdet_late_regex.py'}, line ")


def test_import_that_never_ends_is_ended(mimdet, on_path):
    on_path("slow")
    outcome = mimdet("backbones", "ls", "--load", "--timeout", 2)
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out == (
        "name         distribution  version  class                             state\n"
        "mimdet       mimdet        0.1.0    backbones.mimdet:MIMDet           loads\n"
        "timm_fpn     mimdet        0.1.0    backbones.timm_fpn:TimmFPN        loads\n"
        "vit_adapter  mimdet        0.1.0    backbones.vit_adapter:ViTAdapter  loads\n"
        "vit_fpn      mimdet        0.1.0    backbones.vit_fpn:ViTFPN          loads\n"
        "vitdet       mimdet        0.1.0    backbones.vitdet:ViTDet           loads\n"
        "slow         mimdet-slow   1.0      mimdet_slow:Theirs                "
        "broken: its import took longer than 2 s\n"
    )


def test_listing_names_both_owners_of_a_name_and_keeps_ours(mimdet, sites, on_path):
    on_path("rivals")
    outcome = mimdet("backbones", "ls")
    assert outcome.code == 0
    assert outcome.out == (
        "name            distribution  version  class                             state\n"
        "mimdet          mimdet        0.1.0    backbones.mimdet:MIMDet           listed\n"
        "timm_fpn        mimdet        0.1.0    backbones.timm_fpn:TimmFPN        listed\n"
        "vit_adapter     mimdet        0.1.0    backbones.vit_adapter:ViTAdapter  listed\n"
        "vit_fpn         mimdet        0.1.0    backbones.vit_fpn:ViTFPN          listed\n"
        "vitdet          mimdet        0.1.0    backbones.vitdet:ViTDet           listed\n"
        "twin-one:twin   Twin.One      1.0      mimdet_one:Theirs                 listed\n"
        "twin-two:twin   twin_two      1.0      mimdet_two:Theirs                 listed\n"
        "usurper:vitdet  usurper       1.0      mimdet_usurper:Theirs             listed\n"
    )
    assert outcome.err == (
        "warning: 'vitdet' is mimdet's own backbone; "
        "use usurper:vitdet for the one from usurper 1.0.\n"
        "warning: 'twin' is registered by Twin.One 1.0 and twin_two 1.0: write twin-one:twin or "
        "twin-two:twin.\n"
    )


def test_name_claimed_twice_is_chosen_by_its_distribution(mimdet, on_path, tmp_path):
    on_path("rivals")
    outcome = mimdet("recipe", "check", recipe_of(tmp_path, "twin"))
    assert (outcome.code, outcome.out) == (5, "")
    assert outcome.err == (
        "error: several distributions provide a backbone called 'twin'.\n"
        "  at:  Twin.One 1.0 and twin_two 1.0\n"
        "  fix: choose one: twin-one:twin or twin-two:twin.\n"
    )
    for name in ("twin_two:twin", "usurper:vitdet"):
        assert mimdet("recipe", "check", recipe_of(tmp_path, name)).code == 0
    found = mimdet("recipe", "schema", "--backbone", "twin-one:twin")
    section = json.loads(found.out)["$defs"]["BackboneSection"]
    assert list(section["properties"]) == ["name", "width", "depth", "channels"]


def test_plugins_are_switched_off_by_the_option_and_by_the_variable(
    mimdet, on_path, tmp_path, monkeypatch
):
    on_path("good")
    recipe = recipe_of(tmp_path, "my_net")
    assert mimdet("recipe", "check", recipe).code == 0
    outcome = mimdet("recipe", "check", recipe, "--no-plugins")
    assert (outcome.code, outcome.out) == (5, "")
    assert outcome.err == (
        "error: the backbone 'my_net' from mimdet-my-net 0.1.0 is switched off.\n"
        "  at:  MIMDET_PLUGINS=none (--no-plugins sets it to none)\n"
        "  fix: omit --no-plugins, or set MIMDET_PLUGINS to mimdet-my-net.\n"
    )
    assert SWITCH not in os.environ
    monkeypatch.setenv(SWITCH, "mimdet-others")
    listed = mimdet("backbones", "ls")
    assert listed.out.splitlines()[-1].split() == [
        "my_net", "mimdet-my-net", "0.1.0", "mimdet_my_net:MyNet", "switched", "off"
    ]  # fmt: skip
    assert listed.err == (
        "warning: MIMDET_PLUGINS names 'mimdet-others', which is not installed or has no "
        "backbones.\n"
    )


def test_wrong_options_of_a_plugin_are_reported_with_their_lines(mimdet, on_path, tmp_path):
    on_path("good")
    recipe = recipe_of(tmp_path, "my_net", "  width: 33", "  dept: 4")
    outcome = mimdet("recipe", "check", recipe)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == (
        "error: 'backbone.width' cannot be 33.\n"
        f"  at:  {recipe}, line 3\n"
        "  fix: give a whole number of at least 32 that is a multiple of 32.\n"
        "error: 'backbone.dept' is not a recipe key.\n"
        f"  at:  {recipe}, line 4\n"
        "  fix: did you mean 'depth'?\n"
    )


def test_schema_of_all_has_the_options_of_what_loads_and_says_what_does_not(
    mimdet, on_path, monkeypatch
):
    on_path("good", "bad")
    monkeypatch.setenv(SWITCH, "mimdet-my-net, mimdet-crashes, mimdet-needs")
    outcome = mimdet("recipe", "schema", "--all")
    assert outcome.code == 0
    branches = json.loads(outcome.out)["$defs"]["BackboneSection"]["anyOf"]
    by_name = {branch["properties"]["name"]["const"]: branch for branch in branches}
    assert [*by_name] == ["mimdet", "timm_fpn", "vit_adapter", "vit_fpn", "vitdet", "my_net"]
    assert by_name["my_net"]["properties"]["width"]["multipleOf"] == 32
    assert by_name["my_net"]["properties"]["width"]["description"].startswith("Channels of the")
    assert outcome.err == (
        "warning: mimdet-crashes:crashes is skipped: its import ended the process: SIGSEGV\n"
        "warning: mimdet-needs:needs is skipped: the backbone 'needs' cannot be loaded: "
        "ModuleNotFoundError: No module named 'not_installed_anywhere'\n"
    )


def test_depth_of_a_plugin_drives_layer_decay(sites, on_path):
    on_path("good")
    _, *sets = small(sites, "optimizer.layer_decay=0.5", "optimizer.multiplier=1")
    full = completed(sites / "source" / "my_net" / "recipe.yaml", *sets[1::2])
    found = {rate.name: rate.factor for rate in rates(detector_of(full), full.optimizer)}
    assert found["backbone.patch_embed.proj.weight"] == 0.125
    assert found["backbone.blocks.0.attn.qkv.weight"] == 0.25
    assert found["backbone.blocks.1.local.weight"] == 0.5
    assert found["backbone.pyramid.output.0.conv.weight"] == 1.0


def test_plugin_is_trained_from_weights_evaluated_resumed_and_missed_when_gone(
    mimdet, sites, on_path, shapes, tmp_path, monkeypatch
):
    weights, run = tmp_path / "vit.safetensors", tmp_path / "run"
    shapes_of = {"patch_embed.proj": (32, 3, 16, 16), "head": (10, 32)}
    for i in range(2):
        shapes_of |= {f"blocks.{i}.{name}": shape for name, shape in BLOCK.items()}
    tensors = {"pos_embed": torch.zeros(1, 197, 32), "cls_token": torch.zeros(1, 1, 32)}
    for name, shape in shapes_of.items():
        tensors |= {
            f"{name}.weight": torch.randn(shape) / 50,
            f"{name}.bias": torch.zeros(shape[0]),
        }
    save_file(tensors, weights)
    train = ("train", *small(sites, f"init.weights={weights}", "init.format=timm_vit"))
    train += ("--data", shapes, "--out", run)

    with monkeypatch.context() as path:
        path.syspath_prepend(sites / "good")
        trained = mimdet(*train)
        assert trained.code == 0, trained.err
        assert "(timm_vit): 100.0 % of the " in trained.err
        assert "left in the file: 4 tensors" in trained.err
        assert mimdet("eval", run).code == 0
        assert mimdet(*train, "--resume").code == 0
    kept = {"name": "my_net", "distribution": "mimdet-my-net", "version": "0.1.0"}
    for folder in (run, run / "last", run / "step-2"):
        assert json.loads((folder / "plugin.json").read_text()) == kept

    for command, file in (
        (("eval", run), run / "last" / "plugin.json"),
        ((*train, "--resume"), run / "plugin.json"),
    ):
        outcome = mimdet(*command)
        assert (outcome.code, outcome.out) == (5, "")
        assert outcome.err == (
            "error: the backbone 'my_net' is not installed; the checkpoint was made with "
            "mimdet-my-net 0.1.0.\n"
            f"  at:  {file}\n"
            "  fix: `pip install mimdet-my-net==0.1.0`.\n"
        )


def test_traceback_shows_the_plugins_own_line(mimdet, sites, on_path, tmp_path):
    on_path("bad")
    with pytest.raises(PluginError) as caught:
        mimdet("recipe", "check", recipe_of(tmp_path, "needs"), "--traceback")
    shown = "".join(format_exception(caught.value))
    assert f'File "{sites / "bad" / "mimdet_needs.py"}", line 3' in shown
    assert "import not_installed_anywhere" in shown
