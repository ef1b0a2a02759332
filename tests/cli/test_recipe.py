"""`mimdet recipe`: list, show, copy, check, schema."""

import json

import pytest
import yaml

from mimdet_cli.recipe.load import load_recipe


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_ls_shows_name_expected_ap_and_what_it_is(mimdet):
    outcome = mimdet("recipe", "ls")
    lines = outcome.out.splitlines()
    assert (outcome.code, outcome.err) == (0, "")
    assert lines[0].split() == ["name", "expected", "what"]
    (line,) = [line for line in lines if line.startswith("base_50pct ")]
    assert line.split("  ")[0] == "base_50pct"
    assert " box AP 51.7, mask AP 46.1 " in line
    assert line.endswith(
        " MIMDet ViT-Base, trained on 50 % of the tokens, stem features for the rest."
    )
    assert len(lines) >= 9


def test_ls_json_carries_the_numbers(mimdet):
    listed = json.loads(mimdet("recipe", "ls", "--json").out)
    assert len(listed) >= 8
    assert (listed["large_50pct"]["box_ap"], listed["large_50pct"]["mask_ap"]) == (54.3, 48.2)
    assert listed["demo"]["box_ap"] is None


def test_show_prints_the_file(mimdet, here):
    (here / "mine.yaml").write_text("# Mine.\ntrain: {steps: 5}\n")
    assert mimdet("recipe", "show", "mine.yaml").out == "# Mine.\ntrain: {steps: 5}\n"


def test_resolved_recipe_is_complete_loads_again_and_ends_with_what_is_computed(mimdet, here):
    shown = mimdet("recipe", "show", "base_50pct", "--resolved", "--set", "train.batch=16").out
    assert shown.endswith(
        "# computed\n"
        "#   learning rate 4e-05: 8e-05 at batch 64, scaled to batch 16 (sqrt)\n"
        "#   270,000 steps, 4,320,000 images\n"
    )
    (here / "base_50pct.yaml").write_text(shown)
    again = load_recipe("base_50pct.yaml").recipe
    assert again.train.batch == 16
    assert again.backbone.values["eval_ratio"] == 1.0
    assert mimdet("recipe", "show", "base_50pct.yaml", "--resolved").out == shown


def test_origin_says_where_every_value_came_from(mimdet, here):
    (here / "mine.yaml").write_text("extends: base_25pct\ntrain:\n  batch: 16\n")
    lines = mimdet("recipe", "show", "mine.yaml", "--resolved", "--origin", "--set", "seed=3").out
    found = dict(line.split("  ", 1) for line in lines.splitlines())
    assert {key: value.strip() for key, value in found.items()}.items() >= {
        "name = mine": "mine.yaml",
        "seed = 3": "--set seed=3",
        "train.batch = 16": "mine.yaml, line 3",
        "backbone.train_ratio = 0.25": "recipes/base_25pct.yaml, line 15",
        "optimizer.lr = 8.0e-05": "recipes/base/adamw_36ep.yaml, line 12",
        "optimizer.gamma = 0.1": "default",
        "data.crop.size = [384, 600]": "recipes/base/coco_multiscale_800.yaml, line 12",
    }.items()


def test_show_json_has_values_and_on_demand_their_origins(mimdet):
    values = json.loads(mimdet("recipe", "show", "demo", "--json").out)
    assert values["backbone"]["width"] == 192
    origins = json.loads(mimdet("recipe", "show", "demo", "--json", "--origin").out)
    assert origins["backbone.eval_ratio"] == {"value": 1.0, "origin": "default"}


@pytest.mark.parametrize("name", ["base_25pct", "large_50pct", "demo"])
def test_copy_stands_alone_and_loads_to_the_same_recipe(mimdet, here, name):
    outcome = mimdet("recipe", "copy", name, f"own/{name}.yaml")
    assert (outcome.code, outcome.out, outcome.err) == (0, f"own/{name}.yaml\n", "")
    text = (here / "own" / f"{name}.yaml").read_text()
    assert "extends" not in yaml.safe_load(text)
    assert text.startswith("# ")
    assert load_recipe(f"own/{name}.yaml").recipe == load_recipe(name).recipe


def test_copy_under_another_name_is_called_by_it(mimdet, here):
    mimdet("recipe", "copy", "demo", "mine.yaml")
    assert load_recipe("mine.yaml").recipe.name == "mine"


def test_copy_does_not_overwrite(mimdet, here):
    (here / "demo.yaml").write_text("mine")
    outcome = mimdet("recipe", "copy", "demo")
    assert outcome.code == 2
    assert outcome.err == (
        "error: the file already exists.\n  at:  demo.yaml\n  fix: give another name.\n"
    )
    assert (here / "demo.yaml").read_text() == "mine"


def test_check_accepts_a_valid_recipe(mimdet):
    outcome = mimdet("recipe", "check", "base_50pct")
    assert (outcome.code, outcome.out, outcome.err) == (0, "base_50pct: valid\n", "")


def test_check_reports_schema_and_backbone_at_once(mimdet, here):
    (here / "bad.yaml").write_text(
        "extends: base_50pct\noptimizer:\n  layer_decat: 0.8\nbackbone:\n  train_ratio: 2\n"
    )
    outcome = mimdet("recipe", "check", "bad.yaml", "--set", "backbone.fil=mask")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == (
        "error: 'optimizer.layer_decat' is not a recipe key.\n"
        "  at:  bad.yaml, line 3\n"
        "  fix: did you mean 'layer_decay'?\n"
        "error: 'backbone.fil' is not a recipe key.\n"
        "  at:  --set backbone.fil=mask\n"
        "  fix: did you mean 'fill'?\n"
        "error: 'backbone.train_ratio' cannot be 2.\n"
        "  at:  bad.yaml, line 5\n"
        "  fix: give a number greater than 0 and at most 1.\n"
    )


def test_check_names_the_box_losses_there_are_for_an_unknown_one(mimdet):
    outcome = mimdet("recipe", "check", "demo", "--set", "head.box_loss=gio")
    assert outcome.code == 2
    assert outcome.err == (
        "error: 'head.box_loss' cannot be 'gio'.\n"
        "  at:  --set head.box_loss=gio\n"
        "  fix: did you mean 'giou'? Give one of l1, giou.\n"
    )


def test_check_names_an_unknown_backbone(mimdet):
    outcome = mimdet("recipe", "check", "demo", "--set", "backbone.name=mimdt")
    assert outcome.code == 5
    assert outcome.err == (
        "error: there is no backbone called 'mimdt'.\n"
        "  at:  backbone.name\n"
        "  fix: did you mean 'mimdet'?\n"
    )


def test_schema_titles_every_section_by_its_key(mimdet):
    schema = json.loads(mimdet("recipe", "schema").out)
    titles = {}
    for key in ("head", "data", "init", "optimizer", "train"):
        name = schema["properties"][key]["$ref"].removeprefix("#/$defs/")
        titles[key] = schema["$defs"][name]["title"]
    assert titles == {key: key.capitalize() for key in titles}


def test_schema_is_json_and_takes_in_the_options_of_a_backbone(mimdet):
    plain = json.loads(mimdet("recipe", "schema").out)
    assert plain["$defs"]["Optimizer"]["properties"]["layer_decay"]["description"]
    full = json.loads(mimdet("recipe", "schema", "--backbone", "mimdet").out)
    section = full["$defs"]["BackboneSection"]
    assert section["properties"]["name"] == {"const": "mimdet"}
    assert section["properties"]["train_ratio"]["description"]
    assert section["additionalProperties"] is False
