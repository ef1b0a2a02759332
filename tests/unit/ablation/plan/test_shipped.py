"""Every shipped ablation: complete, planned at full size, true to the papers, able to learn."""

import json
import math
from collections.abc import Mapping
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from detectors import completed, detector_of, shapes_of
from zoo import SMALL_DATA, SMALL_HEAD, SMALL_TIMM, samples

from heads.options import HeadOptions
from mimdet_cli.ablation.definition import (
    Ablation,
    Claim,
    Request,
    read_definition,
    shipped_ablations,
)
from mimdet_cli.ablation.plan.make import Plan, make_plan
from mimdet_cli.build import backbone_class, build_state, build_step
from mimdet_cli.data.batch import Batch
from mimdet_cli.recipe.catalog import shipped_folder
from mimdet_cli.recipe.schema import CompletedRecipe, Data, Init, Train
from mimdet_cli.weights.catalog import entries

PUBLISHED = [
    "sampling-ratio", "full-set-finetune", "sampling-type", "inference-strategy", "conv-stem",
    "decoder-input", "decoder-layers", "input-form", "comparison",
    "backbones", "backbones-1x", "pretraining", "adapter-components", "interactions",
    "adapter-attention", "cascade",
]  # fmt: skip
OPEN = ["mae-family", "p5-pooling", "decoder-init"]
NAMES = shipped_ablations()
TABLES = yaml.safe_load(Path(__file__).with_name("paper_tables.yaml").read_text(encoding="utf-8"))
MIMDET, ADAPTER = TABLES["mimdet"], TABLES["vit_adapter"]
UNITS = {"parameters": "params_m", "peak_memory_gb": "memory_gb"}
"""What the papers' figures are called where the name is not the metric's."""
CPU = torch.device("cpu")


@cache
def ablation(name: str) -> Ablation:
    return read_definition(name).ablation


@cache
def plan(name: str, base: str | None) -> Plan:
    return make_plan(Request(name, base, seeds=1))


def test_every_table_and_every_open_question_has_an_ablation():
    assert sorted(NAMES) == sorted(PUBLISHED + OPEN)
    assert len(NAMES) == 19


@pytest.mark.parametrize("name", NAMES)
def test_ablation_asks_something_names_its_source_and_judges_claims(name):
    asked = ablation(name)
    assert asked.question.endswith("?")
    assert ("arXiv" in asked.source) or name in OPEN
    assert asked.claims
    assert bool(asked.paper) == (name in PUBLISHED)


@pytest.mark.parametrize("name", NAMES)
def test_every_cell_validates_at_full_size(name):
    full = plan(name, None)
    assert full.left_out == {}
    assert len(full.cells) >= 2
    assert ablation(name).default in [cell.label for cell in full.cells]


@pytest.mark.parametrize("name", NAMES)
def test_weights_are_catalogued_in_a_layout_that_the_backbone_reads(name):
    known = entries()
    for run in plan(name, None).runs:
        recipe = run.recipe.recipe
        readable = shapes_of(recipe).backbone.key_maps
        named = [one for one in (recipe.init, *recipe.init.more) if one.weights is not None]
        assert named or run.parent, f"{run.label} starts from random weights"
        for one in named:
            assert (one.format or known[one.weights].format) in readable, run.label


SAMPLED = ["sampling-ratio", "full-set-finetune", "sampling-type", "inference-strategy"]


@pytest.mark.parametrize("name", [*SAMPLED, "conv-stem", "decoder-layers", "input-form"])
def test_tables_with_mask_tokens_fill_with_them(name):
    fills = {run.recipe.recipe.backbone.values["fill"] for run in plan(name, None).runs}
    assert fills == {"mask"}


def test_each_ratio_is_trained_once_and_evaluated_at_every_ratio_from_its_own():
    ratios = [0.125, 0.25, 0.5, 0.75, 1.0]
    full = plan("sampling-ratio", None)
    assert [run.recipe.recipe.backbone.values["train_ratio"] for run in full.runs] == ratios
    assert [cell.label for cell in full.cells] == [
        f"train_ratio={low:g}, eval_ratio={high:g}"
        for low in ratios
        for high in ratios
        if high >= low
    ]


def test_inference_strategies_are_evaluations_of_one_training():
    full = plan("inference-strategy", None)
    assert len(full.runs) == 1
    assert [cell.scoring.evals for cell in full.cells] == [1, 1, 2, 4, 8]


def test_second_stage_starts_from_the_first_and_lasts_a_sixth_of_it():
    first, second = (run.recipe.recipe.train for run in plan("full-set-finetune", None).runs)
    assert (first.epochs, second.epochs) == (36, 6)
    first, second = plan("full-set-finetune", "demo").runs
    assert second.parent == first.hash
    assert (first.recipe.recipe.train.steps, second.recipe.recipe.train.steps) == (600, 100)


def paper(row: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """A row of `paper_tables.yaml` in the terms of an ablation's `paper` section."""
    names = {
        "box": "box_ap", "mask": "mask_ap", "hours": "hours", "mem_gb": "memory_gb",
        "params_m": "params_m", "step_s": "step_s", "gflops": "gmacs",
    }  # fmt: skip
    found = {ours: row[theirs] for theirs, ours in names.items() if theirs in row}
    on = {"gpu": "V100"} if "hours" in found else {}
    return {**found, **on, **more}


def sampling_ratio() -> dict[str, Any]:
    table = MIMDET["table_1_sampling_ratio"]
    ratios = table["inference_ratios"]
    return {
        f"train_ratio={low:g}, eval_ratio={high:g}": paper(
            table[low], box_ap=box, mask_ap=mask, gpu=table[low]["gpu"]
        )
        for low in ratios
        for high, box, mask in zip(ratios, table[low]["box"], table[low]["mask"], strict=True)
        if box is not None
    } | {}


def backbones(schedule: str) -> dict[str, Any]:
    absent = {"PVT-Tiny", "PVT-Small", "Focal-T"}
    return {
        name: {
            "box_ap": row[f"box_{schedule}"][0],
            "mask_ap": row[f"mask_{schedule}"][0],
            "params_m": row["params_m"],
        }
        for name, row in ADAPTER["table_1_mask_rcnn"].items()
        if name not in absent
    }


def comparison() -> dict[str, Any]:
    base, large = (MIMDET["table_9_comparison"][size] for size in ("base", "large"))
    return {
        "Swin+, Base": paper(base["Swin+"]),
        "MViTv2, Base": paper(base["MViTv2"]),
        "Li et al. 2021, Base": paper(base["Li et al. 2021, re-run"]),
        "MIMDet, Base": paper(base["MIMDet"]),
        "MViTv2, Large": paper(large["MViTv2 sup-1K"]),
        "Li et al. 2021, Large": paper(large["Li et al. 2021"]),
        "MIMDet, Large": paper(large["MIMDet"]),
    }


def rows(table: Mapping[Any, Any], **renamed: str) -> dict[str, Any]:
    return {str(renamed.get(str(key), key)): paper(row) for key, row in table.items() if row}


def numbered(table: Mapping[int, Any], key: str) -> dict[str, Any]:
    return {f"{key}={number}": paper(row) for number, row in table.items()}


def expected() -> dict[str, dict[str, Any]]:
    """The published figures of every ablation, by cell."""
    absent = {"Shuffle-T", "Focal-T", "Shuffle-B"}
    no_weights = {"Swin-B, ImageNet-22K"}
    cascade = ADAPTER["table_2_cascade"]
    pretraining = ADAPTER["table_4_pretraining"]
    forms = {
        "row1": "sampled, 4 layers", "row2": "sampled, 1 layer", "row3": "windows, hybrid FPN",
        "row4": "windows, ViT FPN",
    }  # fmt: skip
    return {
        "sampling-ratio": sampling_ratio(),
        "full-set-finetune": rows(MIMDET["table_2_full_set_finetuning"]),
        "sampling-type": rows(MIMDET["table_3_random_vs_grid"]),
        "inference-strategy": rows(MIMDET["table_4_inference_strategy"]),
        "conv-stem": rows(MIMDET["table_5_conv_stem"]),
        "decoder-input": rows(MIMDET["table_6_decoder_input"]),
        "decoder-layers": numbered(MIMDET["table_7_decoder_layers"], "decoder_layers"),
        "input-form": rows(MIMDET["table_8_input_form"], **forms),
        "comparison": comparison(),
        "backbones": backbones("3x"),
        "backbones-1x": backbones("1x"),
        "pretraining": rows({k: v for k, v in pretraining.items() if k not in no_weights}),
        "adapter-components": rows(ADAPTER["table_6_components"]),
        "interactions": numbered(ADAPTER["table_6_interactions"], "interactions"),
        "adapter-attention": rows(ADAPTER["table_7_attention"]),
        "cascade": {
            key: {"box_ap": row["box"][0], "params_m": row["params_m"]}
            for key, row in cascade.items()
            if key not in absent
        },
    }


@pytest.mark.parametrize("name", PUBLISHED)
def test_figures_of_the_paper_are_those_of_its_table(name):
    stated = {cell: row.model_dump(exclude_none=True) for cell, row in ablation(name).paper.items()}
    assert stated == expected()[name]


def holds(claim: Claim, figures: Mapping[str, float]) -> bool:
    rule = claim.rule
    if rule.kind == "higher":
        return figures[rule.cell] - figures[rule.than] > rule.by
    if rule.kind == "not_lower":
        return figures[rule.than] - figures[rule.cell] < rule.by
    steps = [figures[after] - figures[before] for before, after in pairwise(rule.cells)]
    if rule.kind == "saturates":
        return steps[-1] < steps[0]
    return all(step > 0 if rule.kind == "rises" else step < 0 for step in steps)


def test_every_rule_with_published_figures_holds_for_them():
    judged = 0
    for name in NAMES:
        for claim in ablation(name).claims:
            metric = UNITS.get(claim.metric, claim.metric)
            figures = {
                cell: value
                for cell, row in ablation(name).paper.items()
                if (value := getattr(row, metric, None)) is not None
            }
            cells = getattr(claim.rule, "cells", None) or [claim.rule.cell, claim.rule.than]
            if set(cells) <= set(figures):
                judged += 1
                assert holds(claim, figures), f"{name}: {claim.says}"
    assert judged >= 45


def small(recipe: CompletedRecipe) -> CompletedRecipe:
    """The recipe with its backbone and head shrunk, from random weights, for one step on a CPU.

    Weights of the published size have no place in a small model, so `init` is emptied; that each
    format is read is tested with the key maps. MViTv2, which has no tiny size, is timm's smallest.
    """
    options = dict(recipe.backbone.values)
    smaller = backbone_class(recipe.backbone.name).tiny(options)
    if smaller is None:
        assert options["model"].startswith("mvitv2")
        smaller = {"model": SMALL_TIMM["mvitv2"], "channels": 16}
    shrunk = recipe.backbone.options.model_copy(update={**smaller})
    head = recipe.head.model_dump(mode="json") | SMALL_HEAD
    return recipe.model_copy(
        update={
            "name": "small",
            "backbone": recipe.backbone.model_copy(update={"options": shrunk}),
            "head": HeadOptions.model_validate(head),
            "data": Data(**SMALL_DATA),
            "train": Train(steps=1, batch=2),
            "optimizer": recipe.optimizer.model_copy(
                update={"milestones": (), "warmup_images": 0.0}
            ),
            "init": Init(),
        }
    )


@cache
def step_of(recipe: str) -> tuple[bool, bool]:
    """Whether one step on two images has finite losses, and whether it moves the model."""
    small_recipe = completed(json.loads(recipe))
    detector = detector_of(small_recipe)
    before = {name: p.detach().clone() for name, p in detector.named_parameters()}
    state = build_state(small_recipe, detector, CPU)
    losses = build_step(small_recipe, 1, CPU)(state, [Batch.of(samples())]).losses
    moved = any(not torch.equal(p, before[name]) for name, p in detector.named_parameters())
    return len(losses) >= 5 and all(map(math.isfinite, losses.values())), moved


@pytest.mark.parametrize("name", NAMES)
def test_every_training_takes_a_step_at_tiny_size(name):
    """What several ablations train, and 1x and 3x of one model, is stepped once."""
    recipes = {run.label: small(run.recipe.recipe) for run in plan(name, None).runs}
    assert recipes
    steps = {label: step_of(recipe.model_dump_json()) for label, recipe in recipes.items()}
    assert steps == dict.fromkeys(recipes, (True, True))


@pytest.mark.parametrize("name", NAMES)
def test_at_the_size_of_the_demo_something_is_left_of_every_ablation(name):
    demo = plan(name, "demo")
    assert demo.cells
    for run in demo.runs:
        detector = shapes_of(run.recipe.recipe, classes=4)
        assert sum(p.numel() for p in detector.parameters()) < 8e6


def test_readme_of_the_recipes_counts_trainings_and_rows_of_every_ablation():
    lines = (shipped_folder() / "README.md").read_text(encoding="utf-8").splitlines()
    for name in NAMES:
        (row,) = [line for line in lines if f" | `{name}` | " in line]
        full = plan(name, None)
        assert row.endswith(f"| {len(full.runs)} | {len(full.cells)} |")
