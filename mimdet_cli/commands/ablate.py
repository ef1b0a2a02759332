"""`mimdet ablate`: plan, run and report the trainings and evaluations of a table."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mimdet_cli.commands.options import (
    DataOption,
    DeviceOption,
    JsonOption,
    SetOption,
    complete_recipe,
    examples,
)
from mimdet_cli.console import Console
from mimdet_cli.errors import RecipeError

if TYPE_CHECKING:
    from mimdet_cli.ablation.definition import Request

LIST = "ls"

EPILOG = examples(
    "mimdet ablate ls",
    "mimdet ablate sampling-ratio --data coco --plan",
    "mimdet ablate sampling-ratio --base demo --seeds 1 --out runs/ratio",
    "mimdet ablate sampling-ratio --out runs/ratio --report",
    "mimdet ablate mine.yaml --data coco --shard 1/4 --out /shared/mine",
    "mimdet ablate backbones --base demo --add timm_fpn",
)


def complete_ablation(incomplete: str) -> list[str]:
    """Shipped ablations whose names begin with what is typed."""
    from mimdet_cli.ablation.definition import shipped_ablations

    return [name for name in (LIST, *shipped_ablations()) if name.startswith(incomplete)]


def ablate(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME|FILE.yaml|ls",
            help="A shipped ablation or your own file; `ls` lists the shipped ones.",
            autocompletion=complete_ablation,
        ),
    ],
    base: Annotated[
        str | None,
        typer.Option(
            metavar="RECIPE",
            help="Base recipe to use instead of the ablation's. A small one, such as `demo`, "
            "shrinks every backbone to its tiny size.",
            autocompletion=complete_recipe,
        ),
    ] = None,
    data: DataOption = None,
    seeds: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Use seeds 0 to N-1 instead of the ablation's."),
    ] = None,
    overrides: SetOption = None,
    add: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Also train another registered backbone or recipe; repeatable.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder of all runs, continued if it exists; default: runs/ablations/NAME.",
        ),
    ] = None,
    device: DeviceOption = None,
    shard: Annotated[
        str,
        typer.Option(
            metavar="I/N", help="Run only every N-th run, starting at the I-th, on this machine."
        ),
    ] = "1/1",
    plan: Annotated[
        bool,
        typer.Option("--plan", help="Run nothing; check everything and show what is left to do."),
    ] = False,
    commands: Annotated[
        bool,
        typer.Option("--commands", help="Run nothing; print one command per run, for a scheduler."),
    ] = False,
    cell: Annotated[
        str | None,
        typer.Option(
            metavar="HASH", help="Execute one run, in this process; --commands prints the hashes."
        ),
    ] = None,
    report: Annotated[
        bool,
        typer.Option(
            "--report",
            help="Run nothing; show the results so far and write them to DIR/reports as Markdown, "
            "CSV, JSON and a plot.",
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Train and evaluate an ablation; run again to continue."""
    console = Console()
    if name == LIST:
        _list(console, as_json=as_json)
        return

    modes = {"--plan": plan, "--commands": commands, "--cell": cell, "--report": report}
    of_runs = {"--device": device, "--shard": shard != "1/1"} if plan or report else {}
    _refuse_together([option for option, value in {**modes, **of_runs}.items() if value])

    from mimdet_cli.ablation.definition import Request

    folder = out or Path("runs") / "ablations" / Path(name).stem
    request = Request(name, base, data, seeds, tuple(overrides or ()), tuple(add or ()), folder)
    if report:
        _report(request, console, as_json=as_json)
        return

    from mimdet_cli.ablation.plan import show
    from mimdet_cli.ablation.plan.cost import cost_of
    from mimdet_cli.ablation.plan.make import make_plan
    from mimdet_cli.ablation.run import processes
    from mimdet_cli.ablation.run.cell import run_cell

    made = make_plan(request)
    if plan:
        cost = cost_of(made)
        console.result(show.plan_json(made, cost) if as_json else show.plan_lines(made, cost))
    elif commands:
        console.result(processes.commands(made, device))
    elif cell is not None:
        run_cell(made, made.run(cell), device=device, progress=console)
    else:
        part = processes.parse_shard(shard)
        outcome = processes.run_plan(made, shard=part, device=device, progress=console)
        _report(request, console, as_json=as_json)
        for line in outcome.lines(made):
            console.say(line)
        if outcome.failed:
            raise typer.Exit(1)


def _report(request: "Request", console: Console, *, as_json: bool) -> None:
    from mimdet_cli.ablation.report.files import to_json, write
    from mimdet_cli.ablation.report.summary import summarise
    from mimdet_cli.ablation.report.text import text

    summary = summarise(request, console)
    console.say(f"report: {', '.join(str(path) for path in write(summary, request.out))}")
    console.result(to_json(summary) if as_json else text(summary))


def _refuse_together(options: Sequence[str]) -> None:
    if len(options) > 1:
        raise RecipeError(
            f"{' and '.join(options)} cannot be combined.", fix="omit all but one of them."
        )


def _list(console: Console, *, as_json: bool) -> None:
    from mimdet_cli.ablation.definition import read_definition, shipped_ablations

    found = {name: read_definition(name).ablation for name in shipped_ablations()}
    if as_json:
        records = [
            {"name": name, "question": ablation.question, "source": ablation.source}
            for name, ablation in found.items()
        ]
        console.result(json.dumps(records, indent=2, ensure_ascii=False))
        return
    rows = [(name, ablation.question, ablation.source) for name, ablation in found.items()]
    console.table(("ablation", "question", "source"), rows)
