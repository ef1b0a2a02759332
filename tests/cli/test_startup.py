"""Help, version and completion answer without torch, in a separate process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

VERBS = sorted(text.stem for text in (Path(__file__).parent / "help").glob("*.txt"))
HEAVY = "{'torch', 'torchvision', 'numpy', 'pycocotools', 'timm', 'matplotlib', 'PIL'}"
ASK = f"import sys; from mimdet_cli.main import main; code = main(); print({HEAVY} & set(sys.modules)); sys.exit(code)"  # noqa: E501


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", ASK, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **environment},
    )


@pytest.mark.parametrize("verb", VERBS)
def test_help_does_not_import_torch(verb):
    done = run(*([] if verb == "mimdet" else verb.split("-")), "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Usage: mimdet")
    assert done.stdout.endswith("set()\n")


@pytest.mark.parametrize(
    "arguments",
    [
        ("--version",),
        ("recipe", "ls"),
        ("recipe", "show", "base_50pct"),
        ("recipe", "show", "base_50pct", "--resolved"),
        ("recipe", "show", "swin_base_3x", "--origin"),
        ("recipe", "show", "demo", "--json"),
        ("recipe", "check", "base_50pct"),
        ("recipe", "check", "vitdet_base_100ep", "--set", "backbone.width=3"),
        ("recipe", "check", "swin_tiny_1x", "--set", "backbone.model=swim_tiny"),
        ("recipe", "check", "vit_adapter_base_1x"),
        ("recipe", "check", "vit_base_1x"),
        ("recipe", "schema"),
        ("recipe", "schema", "--backbone", "timm_fpn"),
        ("zoo",),
        ("zoo", "--json"),
        ("backbones", "ls"),
        ("weights", "ls"),
        ("weights", "ls", "--json"),
        ("pull", "--list"),
        ("profile", "demo", "--size", "8x8"),
        ("train", "demo", "--set", "seed=x"),
    ],
)
def test_what_needs_no_model_does_not_import_torch(arguments):
    assert run(*arguments).stdout.endswith("set()\n")


def test_completion_knows_the_shipped_recipes():
    words = "mimdet train base_1"
    done = subprocess.run(
        [sys.executable, "-m", "mimdet_cli"],
        capture_output=True,
        text=True,
        timeout=60,
        env={
            **os.environ,
            "_MIMDET_COMPLETE": "complete_bash",
            "COMP_WORDS": words,
            "COMP_CWORD": "2",
        },
    )
    assert done.stdout.split() == ["base_12pct", "base_100pct"]


def test_reader_that_stops_early_is_no_error():
    done = subprocess.run(
        f"{sys.executable} -m mimdet_cli recipe schema --backbone mimdet | head -1",
        shell=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.stdout, done.stderr) == ("{\n", "")
