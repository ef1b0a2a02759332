"""`mimdet zoo`: every shipped recipe with what its paper reports."""

import json

from mimdet_cli.recipe.catalog import shipped_names


def records(mimdet):
    outcome = mimdet("zoo", "--json")
    assert (outcome.code, outcome.err) == (0, "")
    return {record["recipe"]: record for record in json.loads(outcome.out)}


def test_json_is_a_list_with_one_record_for_every_recipe(mimdet):
    found = records(mimdet)
    assert list(found) == shipped_names()
    assert len(found) >= 50
    keys = {"recipe", "backbone", "model", "size", "box_ap", "mask_ap", "source"}
    assert all(set(record) == keys | {"weights", "licence"} for record in found.values())


def test_record_of_a_published_recipe_is_complete(mimdet):
    assert records(mimdet)["vit_adapter_small_1x"] == {
        "recipe": "vit_adapter_small_1x",
        "backbone": "vit_adapter",
        "model": None,
        "size": "small",
        "box_ap": 44.7,
        "mask_ap": 39.9,
        "source": "arXiv:2205.08534, Table 1",
        "weights": "deit-small",
        "licence": "Apache-2.0",
    }


def test_what_is_not_published_is_null(mimdet):
    demo = records(mimdet)["demo"]
    assert [demo[key] for key in ("box_ap", "mask_ap", "size", "weights", "licence")] == [None] * 5


def test_every_catalogued_weight_comes_with_its_licence(mimdet):
    found = [record for record in records(mimdet).values() if record["weights"]]
    assert len(found) >= 30
    assert all(record["licence"] for record in found)


def test_timm_recipes_name_their_model(mimdet):
    found = [r for r in records(mimdet).values() if r["backbone"] == "timm_fpn"]
    assert len(found) >= 10
    assert all(record["model"] and record["size"] for record in found)


def test_table_is_aligned_and_has_a_line_for_every_recipe(mimdet):
    outcome = mimdet("zoo")
    header, *lines = outcome.out.splitlines()
    assert [line.split()[0] for line in lines] == shipped_names()
    columns = [header.index(word) for word in ("backbone", "size", "box AP", "weights", "source")]
    assert all(line[column - 1] == " " != line[column] for line in lines for column in columns)
