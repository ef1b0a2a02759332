"""`mimdet predict`: detect objects in images; write drawings and a COCO results file."""

from pathlib import Path
from typing import Annotated

import typer

from mimdet_cli.commands.options import DeviceOption, JsonOption, RunArgument, examples
from mimdet_cli.console import Console

EPILOG = examples(
    "mimdet predict runs/demo shapes/val --out drawn",
    "mimdet predict runs/demo/best photo.jpg scan.png --out drawn --threshold 0.7",
)


def predict(
    run: RunArgument,
    inputs: Annotated[
        list[Path],
        typer.Argument(metavar="IMAGE_OR_FOLDER", help="Images or folders of images."),
    ],
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder for the drawings and the results file.")
    ],
    threshold: Annotated[
        float,
        typer.Option(min=0, max=1, metavar="SCORE", help="Minimum score of drawn detections."),
    ] = 0.5,
    device: DeviceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Detect objects in images and draw them."""
    from mimdet_cli.jobs.prediction import predict as run_prediction

    console = Console()
    report = run_prediction(
        run, inputs, out=out, threshold=threshold, device=device, progress=console
    )
    console.result(report.to_json() if as_json else report.lines())
