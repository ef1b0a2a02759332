"""Every value of every enumerated option changes what it should, and nothing beside it.

The list comes from the JSON schemas, so that a value without an entry in `CHANGES` fails. Each one
is put in the place of the default in a tiny recipe, and all that a recipe decides is compared, part
by part (`Footprint`). Parameters are filled by name: no change comes from other initial weights.
Equal means within 1e-4: sums in another order differ by less, every effect here by more.
"""

import re
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
import torch
from detectors import completed, detector_of
from pydantic import BaseModel
from torch import Tensor, nn
from zoo import SMALL, SMALL_DATA, SMALL_HEAD, mixed_split, photographs, samples

from heads.mask_rcnn import MaskRCNN
from heads.options import HeadOptions
from mimdet_cli import plugins
from mimdet_cli.build import (
    build_detector,
    build_state,
    build_step,
    step_batches,
    usable_precision,
)
from mimdet_cli.data.batch import Batch
from mimdet_cli.data.coco.split import CocoSplit
from mimdet_cli.engine.optim import rates
from mimdet_cli.engine.schedule import Schedule, scaled_lr
from mimdet_cli.recipe.schema import CompletedRecipe, Data, Init, Optimizer, Train

CPU = torch.device("cpu")
TOLERANCE = 1e-4
STEPS = 8
SECTIONS = {"head": HeadOptions, "data": Data, "train": Train, "optimizer": Optimizer, "init": Init}
BACKBONES = sorted(
    entry.name for entry in entry_points(group=plugins.GROUP) if entry.dist.name == "mimdet"
)

OUTPUT = {"maps", "losses"}
NEW = {"parameters", *OUTPUT}
NUMBERS = {*NEW, "rates", "update", "plan", "batches"}
FROM_BN = {"syncbn": {"synced"}, "ln": OUTPUT, "gn": OUTPUT, "none": NEW}
FROM_LN = {"bn": OUTPUT, "syncbn": OUTPUT | {"synced"}, "gn": OUTPUT, "none": NEW}
FROM_NONE = {"bn": NEW, "syncbn": NEW | {"synced"}, "ln": NEW, "gn": NEW}
RECOMPUTED = {True: {"calls"}}

CHANGES: dict[str, dict[Any, set[str]]] = {
    "head.rpn_convs": {1: {"parameters", "losses"}},
    "head.box_head": {"2fc": {"parameters", "losses"}},
    "head.norm": {
        "syncbn": {"synced"}, "ln": {"losses"}, "gn": {"losses"}, "none": {"parameters", "losses"},
    },
    "head.mask": {False: {"parameters", "losses"}},
    "head.cascade": {True: {"parameters", "losses"}},
    "head.rules": {"mmdet": {"losses"}},
    "head.rpn_box_loss": {"giou": {"losses"}},
    "head.box_loss": {"giou": {"losses"}},
    "data.skip_empty": {False: {"batches"}},
    "data.group_by_aspect": {False: {"batches"}},
    "train.precision": {"bf16": {"losses", "on_a_gpu"}, "fp16": {"on_a_gpu"}},
    "train.channels_last": {True: {"layout"}},
    "optimizer.name": {"sgd": {"update"}},
    "optimizer.scale": {"linear": {"plan"}, "none": {"plan"}},
    "optimizer.no_decay": {"norms": {"rates"}, "none": {"rates"}},
    "optimizer.schedule": {"cosine": {"plan"}},
    "mimdet.sampling": {"grid": OUTPUT},
    "mimdet.input": {"windows": OUTPUT},
    "mimdet.fill": {"mask": NEW},
    "mimdet.p5": {"mean": OUTPUT},
    "mimdet.stem": {"convnext": NEW},
    "mimdet.pyramid": {"vit": NEW},
    "mimdet.norm": FROM_BN,
    "mimdet.checkpoint_activations": RECOMPUTED,
    "timm_fpn.norm": FROM_NONE,
    "timm_fpn.frozen_bn": {True: {"losses"}},
    "vit_adapter.encoder": {"beit": NEW, "uni_perceiver": NEW},
    "vit_adapter.parts": {"spm": NEW, "injector": NEW},
    "vit_adapter.attention": {"global": NEW, "cswin": NEW, "pale": NEW},
    "vit_adapter.add_vit_feature": {False: OUTPUT},
    "vit_adapter.neck": {"conv": NEW},
    "vit_adapter.norm": {"syncbn": {"synced"}},
    "vit_adapter.fpn_norm": FROM_NONE,
    "vit_adapter.decay_exceptions": {False: {"rates"}},
    "vit_adapter.checkpoint_activations": RECOMPUTED,
    "vit_fpn.form": {"vit": NEW | {"rates"}, "conv": NEW | {"rates"}},
    "vit_fpn.norm": FROM_BN,
    "vit_fpn.decay_exceptions": {False: {"rates"}},
    "vit_fpn.checkpoint_activations": RECOMPUTED,
    "vitdet.rel_pos": {False: NEW},
    "vitdet.norm": FROM_LN,
    "vitdet.decay_exceptions": {False: {"rates"}},
    "vitdet.checkpoint_activations": RECOMPUTED,
}  # fmt: skip
"""Parts of the footprint that a value changes, by key."""

WITH: dict[str, dict[str, Any]] = {
    "mimdet.sampling": {"train_ratio": 0.5, "eval_ratio": 0.5},
    "mimdet.fill": {"train_ratio": 0.5, "eval_ratio": 0.5},
    "mimdet.input": {"train_ratio": 1.0, "window": 3},
    "mimdet.pyramid": {"train_ratio": 1.0},
    "timm_fpn.frozen_bn": {"model": "resnet10t"},
    "vit_adapter.encoder": {"global_window": 3},
}
"""Settings of the same section in whose company a key has its effect."""

PERMISSIONS = {"init.mix_families": "lifts a refusal of `weights.locate`, where it is tested"}
"""Keys without a separate part."""

SAME_NUMBERS = {
    "synced": "a single process has no one to share batch statistics with",
    "calls": "activations are computed again instead of kept, which saves memory alone",
    "layout": "weights lie in another order in memory, which saves time alone",
    "on_a_gpu": "a CPU has no fast fp16 and computes in fp32",
}
"""Parts that no loss depends on: why a value that changes them alone is still no idle option."""


@dataclass(frozen=True)
class Footprint:
    """What a recipe decides.

    `parameters`: names and shapes. `maps`: the pyramid in evaluation. `losses`: of one training
    step. `rates`: learning-rate factor and weight decay by parameter. `update`: what the optimizer
    keeps of a parameter. `plan`: learning rate of each step. `batches`: images of the first
    batches. `calls`: passes through each transformer block in a training step. `synced`: layers
    that share statistics between processes. `layout`: whether weights are in channels-last order.
    `on_a_gpu`: precision there.
    """

    parameters: dict[str, torch.Size]
    maps: dict[str, Tensor]
    losses: dict[str, Tensor]
    rates: dict[str, Tensor]
    update: set[str]
    plan: list[float]
    batches: list[list[int]]
    calls: dict[str, int]
    synced: set[str]
    layout: bool
    on_a_gpu: str


def values_of(node: dict[str, Any]) -> list[Any]:
    """What a schema enumerates; nothing for numbers, texts, lists and sections."""
    if node.get("type") == "boolean":
        return [False, True]
    branches = [value for branch in node.get("anyOf", []) for value in values_of(branch)]
    single = [node["const"]] if "const" in node else []
    return [*single, *node.get("enum", []), *branches]


def enumerated(prefix: str, model: type[BaseModel]) -> Iterator[tuple[str, Any]]:
    """Keys with each of their values but the default, sections within the model included."""
    schema = model.model_json_schema()
    inner = {f"{prefix}.{name.lower()}": node for name, node in schema.get("$defs", {}).items()}
    for place, node in {prefix: schema, **inner}.items():
        for name, option in node["properties"].items():
            for value in values_of(option):
                if value != option["default"]:
                    yield f"{place}.{name}", value


OPTIONS = {**SECTIONS, **{name: plugins.load(name).Options for name in BACKBONES}}
CASES = [
    case
    for prefix, model in OPTIONS.items()
    for case in enumerated(prefix, model)
    if case[0] not in PERMISSIONS
]


def recipe_of(section: str, settings: dict[str, Any]) -> CompletedRecipe:
    """A tiny recipe with `settings` in a section, or in the options of the backbone so called."""
    name = section if section in BACKBONES else "mimdet"
    values: dict[str, dict[str, Any]] = {
        "backbone": {"name": name, **SMALL[name]},
        "head": dict(SMALL_HEAD),
        "data": {**SMALL_DATA, "short_side": [32], "workers": 0},
        "train": {"steps": STEPS, "batch": 2},
        "optimizer": {"warmup_images": 2},
    }
    target = "backbone" if section in BACKBONES else section
    values[target] = {**values.get(target, {}), **settings}
    return completed(values)


def fill(detector: MaskRCNN) -> None:
    """Give every parameter values that follow from its name: vectors around 1, matrices narrow."""
    for name, parameter in detector.named_parameters():
        generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
        with torch.no_grad():
            if parameter.ndim < 2:
                parameter.uniform_(0.5, 1.5, generator=generator)
            else:
                parameter.normal_(std=parameter[0].numel() ** -0.5, generator=generator)


def count_calls(detector: nn.Module) -> Counter[str]:
    """A counter of the forward passes through each transformer block from now on."""
    calls: Counter[str] = Counter()
    for name, module in detector.named_modules():
        if re.search(r"(^|\.)blocks\.\d+$", name):
            module.register_forward_pre_hook(lambda _, __, name=name: calls.update([name]))
    return calls


def footprint(recipe: CompletedRecipe, split: CocoSplit) -> Footprint:
    """All parts, measured through the functions that training uses."""
    detector = detector_of(recipe)
    fill(detector)
    state, step = build_state(recipe, detector, CPU), build_step(recipe, STEPS, CPU)
    parameters = {name: p.shape for name, p in detector.named_parameters()}
    layout = any(
        p.is_contiguous(memory_format=torch.channels_last) and not p.is_contiguous()
        for p in detector.parameters()
        if p.ndim == 4
    )
    with torch.no_grad():
        maps = detector.eval().backbone(*detector.prepare(photographs()))
    calls = count_calls(detector)
    report = step(state, [Batch.of(samples())])
    with torch.device("meta"):
        shared = build_detector(recipe, 3, world=2)
    schedule = Schedule.of(recipe, STEPS)
    return Footprint(
        parameters=parameters,
        maps=maps,
        losses={name: torch.tensor(loss) for name, loss in report.losses.items()},
        rates={
            rate.name: torch.tensor([rate.factor, rate.weight_decay])
            for rate in rates(detector, recipe.optimizer)
        },
        update={key for entries in state.optimizer.state.values() for key in entries},
        plan=[scaled_lr(recipe) * schedule(i) for i in range(STEPS)],
        batches=[
            [image_id for part in group for image_id in part.image_ids]
            for group in step_batches(recipe, split, CPU, 0, STEPS)
        ],
        calls=dict(calls),
        synced={name for name, m in shared.named_modules() if isinstance(m, nn.SyncBatchNorm)},
        layout=layout,
        on_a_gpu=usable_precision(recipe, torch.device("cuda")),
    )


def same(first: Any, second: Any) -> bool:
    if isinstance(first, dict) and first and isinstance(next(iter(first.values())), Tensor):
        shapes = ({key: x.shape for key, x in part.items()} for part in (first, second))
        return len({str(shape) for shape in shapes}) == 1 and all(
            torch.allclose(first[key], second[key], rtol=TOLERANCE, atol=TOLERANCE) for key in first
        )
    return bool(first == second)


def changed(before: Footprint, after: Footprint) -> set[str]:
    """The parts that differ; rates and calls are compared for the names that both have."""
    found = set()
    for field in fields(Footprint):
        first, second = getattr(before, field.name), getattr(after, field.name)
        if field.name in ("rates", "calls"):
            common = first.keys() & second.keys()
            first, second = ({key: x[key] for key in common} for x in (first, second))
        if not same(first, second):
            found.add(field.name)
    return found


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> CocoSplit:
    folder: Path = tmp_path_factory.mktemp("mixed")
    return mixed_split(folder)


@pytest.fixture(scope="module")
def default(split: CocoSplit) -> Any:
    """The footprint of a section's defaults beside some settings, measured once."""

    @cache
    def measured(section: str, settings: tuple[tuple[str, Any], ...]) -> Footprint:
        return footprint(recipe_of(section, dict(settings)), split)

    return measured


def test_the_lists_are_not_short():
    assert BACKBONES == ["mimdet", "timm_fpn", "vit_adapter", "vit_fpn", "vitdet"]
    assert len(CASES) >= 60
    assert len({key for key, _ in CASES}) >= 35


def test_every_enumerated_value_is_exercised_and_no_other():
    listed = [(key, value) for key, values in CHANGES.items() for value in values]
    assert sorted(listed, key=str) == sorted(CASES, key=str)


def test_values_that_change_no_number_are_declared_with_the_reason():
    parts = {field.name for field in fields(Footprint)}
    alone = [changes for values in CHANGES.values() for changes in values.values()]
    idle = {part for changes in alone for part in changes if not changes & NUMBERS}
    assert idle == SAME_NUMBERS.keys() == parts - NUMBERS


@pytest.mark.parametrize(("key", "value"), CASES)
def test_a_value_changes_exactly_the_parts_it_should(key, value, default, split):
    section, _, name = key.partition(".")
    beside = WITH.get(key, {})
    before = default(section, tuple(beside.items()))
    after = footprint(recipe_of(section, {**beside, name: value}), split)
    assert changed(before, after) == CHANGES[key][value] != set()


RECOMPUTING = [key for key, _ in CASES if key.endswith(".checkpoint_activations")]


@pytest.mark.parametrize("key", RECOMPUTING)
def test_recomputing_goes_through_every_block_twice(key, default, split):
    section = key.partition(".")[0]
    once = default(section, ()).calls
    again = footprint(recipe_of(section, {"checkpoint_activations": True}), split).calls
    assert len(once) >= 4
    assert set(once.values()) == {1}
    assert again == dict.fromkeys(once, 2)
