"""`mimdet eval`: box and mask AP of a run, or of any COCO results file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from mimdet_cli.commands.options import (
    DataOption,
    DeviceOption,
    JsonOption,
    SetOption,
    examples,
)
from mimdet_cli.console import Console
from mimdet_cli.errors import RecipeError
from mimdet_cli.recipe.overrides import parse_overrides

EPILOG = examples(
    "mimdet eval runs/demo",
    "mimdet eval runs/demo/best --json",
    "mimdet eval runs/demo --data shapes --ratio 0.5 --evals 4",
    "mimdet eval results.json --annotations shapes/annotations/instances_val.json",
)


def evaluate(
    target: Annotated[
        Path,
        typer.Argument(
            metavar="RUN|RESULTS.json",
            help="Run folder, its `best`, `last` or `step-N`, or a COCO results file.",
        ),
    ],
    data: DataOption = None,
    annotations: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="COCO annotation file for RESULTS.json."),
    ] = None,
    ratio: Annotated[
        float | None,
        typer.Option(
            metavar="R",
            min=0,
            max=1,
            help="Share of tokens that the backbone sees; default: the recipe's.",
        ),
    ] = None,
    evals: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=1,
            help="Merge N evaluations of each image, each with its own random tokens.",
        ),
    ] = 1,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder for predictions and plots; default: RUN/eval/NAME, named after the "
            "checkpoint and the settings that differ from the run's.",
        ),
    ] = None,
    overrides: SetOption = None,
    device: DeviceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Score a run on its val split, or a COCO results file."""
    is_file = target.suffix == ".json"
    if is_file:
        given = {"--data": data, "--ratio": ratio, "--evals": evals > 1, "--out": out}
        _refuse({**given, "--set": overrides, "--device": device}, "a results file")
    else:
        _refuse({"--annotations": annotations}, "a run")
    if is_file and annotations is None:
        raise RecipeError(
            "a results file needs its annotation file.",
            where=str(target),
            fix="add --annotations FILE.",
        )

    from mimdet_cli.jobs.scoring import score_file, score_run

    console = Console()
    if annotations is not None:
        ap = score_file(target, annotations)
        console.result(ap.to_json() if as_json else ap.lines())
        return
    report = score_run(
        target,
        data=str(data) if data else None,
        overrides=parse_overrides(overrides or []),
        device=device,
        progress=console,
        ratio=ratio,
        evals=evals,
        folder=out,
    )
    console.result(report.to_json() if as_json else report.lines())


def _refuse(options: Mapping[str, object], kind: str) -> None:
    given = [name for name, value in options.items() if value]
    if given:
        raise RecipeError(
            f"{' and '.join(given)} cannot be used with {kind}.",
            fix="omit what does not apply; see `mimdet eval --help`.",
        )
