"""`mimdet ablate`: every training and evaluation of a table, and what is left of them."""

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
    from mimdet_cli.ablation.request import Request

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
    """Shipped names that begin with what is typed."""
    from mimdet_cli.ablation.read import shipped_names

    return [name for name in (LIST, *shipped_names()) if name.startswith(incomplete)]


def ablate(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME|FILE.yaml|ls",
            help="A shipped ablation or a file of your own; `ls` lists the shipped ones.",
            autocompletion=complete_ablation,
        ),
    ],
    base: Annotated[
        str | None,
        typer.Option(
            metavar="RECIPE",
            help="Recipe in place of the ablation's base. A small one, such as `demo`, shrinks "
            "every backbone to its tiny size.",
            autocompletion=complete_recipe,
        ),
    ] = None,
    data: DataOption = None,
    seeds: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Seeds 0 to N-1 in place of the ablation's."),
    ] = None,
    overrides: SetOption = None,
    add: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="A registered backbone or a recipe as one training more; may be repeated.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder of all runs, continued if it is there; runs/ablations/NAME if absent.",
        ),
    ] = None,
    device: DeviceOption = None,
    shard: Annotated[
        str,
        typer.Option(metavar="I/N", help="Run every N-th run, from the I-th, on this machine."),
    ] = "1/1",
    plan: Annotated[
        bool, typer.Option("--plan", help="Check everything and show what there is to do.")
    ] = False,
    commands: Annotated[
        bool, typer.Option("--commands", help="Print a command for each run, for a scheduler.")
    ] = False,
    cell: Annotated[
        str | None,
        typer.Option(metavar="HASH", help="Do one run in this process, as --commands prints it."),
    ] = None,
    report: Annotated[
        bool,
        typer.Option(
            "--report",
            help="Run nothing; show what the folder holds, half way too, and write it to "
            "DIR/reports as Markdown, CSV, JSON and a plot.",
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Train and evaluate every cell of an ablation; run again to continue."""
    console = Console()
    if name == LIST:
        _list(console, as_json=as_json)
        return

    modes = {"--plan": plan, "--commands": commands, "--cell": cell, "--report": report}
    of_runs = {"--device": device, "--shard": shard != "1/1"} if report else {}
    _refuse_together([option for option, value in {**modes, **of_runs}.items() if value])

    from mimdet_cli.ablation.request import Request

    folder = out or Path("runs") / "ablations" / Path(name).stem
    request = Request(name, base, data, seeds, tuple(overrides or ()), tuple(add or ()), folder)
    if report:
        _report(request, console, as_json=as_json)
        return

    from mimdet_cli.ablation.plan.plan import make_plan

    made = make_plan(request)

    from mimdet_cli.ablation.plan import show
    from mimdet_cli.ablation.plan.cost import predict
    from mimdet_cli.ablation.run import processes as running
    from mimdet_cli.ablation.run.cell import run_cell

    if plan:
        cost = predict(made, device)
        console.result(show.plan_json(made, cost) if as_json else show.plan_lines(made, cost))
    elif commands:
        console.result(running.commands(made, device))
    elif cell is not None:
        run_cell(made, made.run(cell), device=device, progress=console)
    else:
        part = running.parse_shard(shard)
        outcome = running.run_plan(made, shard=part, device=device, progress=console)
        _report(request, console, as_json=as_json)
        for line in show.outcome_lines(made, outcome):
            console.say(line)
        if outcome.failed:
            raise typer.Exit(1)


def _report(request: "Request", console: Console, *, as_json: bool) -> None:
    from mimdet_cli.ablation.report.report import command, text, write
    from mimdet_cli.ablation.report.summary import summarise

    summary = summarise(request, console)
    console.say(f"report: {', '.join(str(path) for path in write(summary, request.out))}")
    if as_json:
        from mimdet_cli.ablation.report.files import to_json

        console.result(to_json(summary, command(summary)))
    else:
        console.result(text(summary))


def _refuse_together(options: Sequence[str]) -> None:
    if len(options) > 1:
        raise RecipeError(
            f"{' and '.join(options)} are asked for at once.", fix="leave all but one of them out."
        )


def _list(console: Console, *, as_json: bool) -> None:
    from mimdet_cli.ablation.read import read, shipped_names

    found = [(name, read(name).ablation) for name in shipped_names()]
    if as_json:
        records = [
            {"name": name, "question": one.question, "source": one.source} for name, one in found
        ]
        console.result(json.dumps(records, indent=2, ensure_ascii=False))
        return
    rows = [(name, one.question, one.source) for name, one in found]
    console.table(("ablation", "question", "source"), rows)
