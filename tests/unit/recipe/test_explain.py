"""A wrong recipe is explained key by key: where it is set, and what would be right."""

from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field

from mimdet_cli.errors import MimdetError, RecipeError
from mimdet_cli.recipe.load import check_options, load_recipe
from mimdet_cli.recipe.reading import Origin


def explained(tmp_path, monkeypatch, text: str, *overrides: str) -> list[MimdetError]:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(RecipeError) as caught:
        load_recipe("x.yaml", overrides)
    return caught.value.each()


@pytest.mark.parametrize(
    ("text", "what", "line", "fix"),
    [
        (
            "optimizer:\n  layer_decat: 1",
            "'optimizer.layer_decat' is not a recipe key.",
            2,
            "did you mean 'layer_decay'?",
        ),
        ("optimzer: {}", "'optimzer' is not a recipe key.", 1, "did you mean 'optimizer'?"),
        (
            "train:\n  steps: 5\n  lr: 1",
            "'train.lr' is not a recipe key.",
            3,
            "did you mean 'optimizer.lr'?",
        ),
        ("batch: 3", "'batch' is not a recipe key.", 1, "did you mean 'train.batch'?"),
        (
            "train.batch: 3",
            "'train.batch' is not a recipe key.",
            1,
            "nest 'batch:' in the section 'train:'.",
        ),
        (
            "init: {zzz: 3}",
            "'init.zzz' is not a recipe key.",
            1,
            "'init' has the keys checkpoint, weights, format, more, allow_missing, mix_families.",
        ),
        (
            "optimizer: {lr: fast}",
            "'optimizer.lr' cannot be 'fast'.",
            1,
            "give a number greater than 0.",
        ),
        ("optimizer: {lr: 0}", "'optimizer.lr' cannot be 0.", 1, "give a number greater than 0."),
        (
            "optimizer: {lr: .nan}",
            "'optimizer.lr' cannot be nan.",
            1,
            "give a number greater than 0.",
        ),
        (
            "optimizer: {layer_decay: 2}",
            "'optimizer.layer_decay' cannot be 2.",
            1,
            "give a number greater than 0 and at most 1.",
        ),
        ("data: {flip: 1.5}", "'data.flip' cannot be 1.5.", 1, "give a number from 0 to 1."),
        (
            "data: {crop: {size: 3}}",
            "'data.crop.size' cannot be 3.",
            1,
            "give a list of 2, each a whole number of at least 1.",
        ),
        (
            "data:\n  short_side: [480, -3]",
            "item 2 of 'data.short_side' cannot be -3.",
            2,
            "give a whole number of at least 1.",
        ),
        ("data: {root: 3}", "'data.root' cannot be 3.", 1, "give text, or null."),
        (
            "train: {steps: 16.0}",
            "'train.steps' cannot be 16.0.",
            1,
            "give a whole number of at least 1, or null.",
        ),
        ("seed: true", "'seed' cannot be true.", 1, "give a whole number of at least 0."),
        ("seed: '3'", "'seed' cannot be '3'.", 1, "give a whole number of at least 0."),
        ("seed:", "'seed' cannot be null.", 1, "give a whole number of at least 0."),
        (
            "head: {norm: BN}",
            "'head.norm' cannot be 'BN'.",
            1,
            "did you mean 'bn'? Give one of bn, syncbn, ln, gn, none.",
        ),
        ("head: {rpn_convs: 3}", "'head.rpn_convs' cannot be 3.", 1, "give one of 1, 2."),
        ("head: {mask: 1}", "'head.mask' cannot be 1.", 1, "give true or false."),
        (
            "init: 3",
            "'init' cannot be 3.",
            1,
            "give a section with the keys checkpoint, weights, format, more, allow_missing, "
            "mix_families.",
        ),
        (
            "train: {batch: 3}",
            "set one of train.epochs and train.steps, and the other to null.",
            1,
            "",
        ),
    ],
)
def test_mistake_is_named_with_its_line_and_what_is_allowed(
    tmp_path, monkeypatch, text, what, line, fix
):
    (error,) = explained(tmp_path, monkeypatch, text)
    assert (error.what, error.where, error.fix) == (what, f"x.yaml, line {line}", fix)


def test_all_mistakes_are_reported_at_once_in_the_order_of_lines(tmp_path, monkeypatch):
    text = "seed: -1\nhead: {norm: x}\ntrain: {steps: 5}\ndata: {flop: 1}\n"
    errors = explained(tmp_path, monkeypatch, text)
    assert [error.where for error in errors] == [f"x.yaml, line {n}" for n in (1, 2, 4)]


def test_mistake_on_the_command_line_names_the_option(tmp_path, monkeypatch):
    errors = explained(
        tmp_path, monkeypatch, "train: {steps: 5}", "optimzer.lr=1", "train.epochs=3"
    )
    assert [error.where for error in errors] == [
        "--set optimzer.lr=1",
        "--set train.epochs=3; x.yaml, line 1",  # both sides of a contradiction
    ]


class Options(BaseModel):
    model_config = ConfigDict(extra="forbid")

    train_ratio: Annotated[float, Field(gt=0, le=1)] = 0.5
    width: Annotated[int, Field(ge=16, multiple_of=16)] = 32
    fill: Literal["stem", "mask"] = "stem"
    window: int


def test_options_of_a_backbone_are_explained_with_their_section():
    values = {"tain_ratio": 0.5, "width": 40, "fill": "musk"}
    origins = {f"backbone.{key}": Origin("x.yaml", n) for n, key in enumerate(values, 3)}
    origins["backbone"] = Origin("x.yaml", 2)
    with pytest.raises(RecipeError) as caught:
        check_options(Options, values, origins)
    assert [str(error) for error in caught.value.each()] == [
        "'backbone.window' is not set.; at: x.yaml, line 2; fix: give a whole number.",
        "'backbone.tain_ratio' is not a recipe key.; at: x.yaml, line 3; "
        "fix: did you mean 'train_ratio'?",
        "'backbone.width' cannot be 40.; at: x.yaml, line 4; "
        "fix: give a whole number of at least 16 that is a multiple of 16.",
        "'backbone.fill' cannot be 'musk'.; at: x.yaml, line 5; "
        "fix: did you mean 'mask'? Give one of stem, mask.",
    ]
