"""Imported weights files, and refusals, for tests."""

import re
import shlex
from pathlib import Path

import pytest
import torch

from mimdet_cli.console import Console
from mimdet_cli.errors import WeightsError
from mimdet_cli.weights.import_file import import_file
from mimdet_cli.weights.result import WeightsResult


def refusal(call, *arguments, **named) -> WeightsError:
    with pytest.raises(WeightsError) as caught:
        call(*arguments, **named)
    return caught.value


def suggested(error: WeightsError) -> list[str]:
    """The arguments of the command that the message suggests."""
    command = re.search(r"`mimdet ([^`]+)`", error.fix)
    assert command is not None
    return shlex.split(command[1])


def import_made(
    path: Path, layout: str | None = "mae", name="mine", tensors=None, *, relock=False
) -> WeightsResult:
    """Import a file with these tensors, written to `path` first."""
    torch.save({"model": tensors or {"a": torch.ones(2)}, "epoch": 3}, path)
    return import_file(path, name, layout, Console(), relock=relock)
