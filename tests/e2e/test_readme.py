"""Every command and line of Python in the README, from an installed wheel, in an empty folder.

What the README takes for granted is put there first: small data under the names that it uses, files
of released weights at the tests' size, a Hub on the loopback interface. Trainings are made short by
the words in `SHORTER`. The blocks run in order, except the one that makes the backbone `my_net`.
"""

import json
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest
import torch
import yaml
from detectors import detector_of, in_detectron2s_layout
from hub import Hub, loopback
from reader import Block, Reader, blocks
from safetensors.torch import save as save_tensors

from mimdet_cli import __version__
from mimdet_cli.data.synthetic import write_demo
from mimdet_cli.jobs.class_names import coco_classes

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text().replace(" /shared/", " shared/")
TINY = yaml.safe_load((ROOT / "tests" / "tiny.yaml").read_text())
IN_A_CHECKOUT = ("pip install .", "make demo")
"""How the blocks begin that are typed in a checkout."""


def changes(values: Mapping[str, Mapping[str, object]]) -> list[str]:
    """The values of a recipe as `--set` on a command line."""
    settings = [
        f"{section}.{key}={json.dumps(value)}"
        for section, keys in values.items()
        for key, value in keys.items()
        if (section, key) != ("backbone", "name")
    ]
    return [word for setting in settings for word in ("--set", setting)]


SMALL = changes({key: TINY[key] for key in ("backbone", "head", "data")})
NARROW = changes(
    {
        "backbone": {"width": 96, "depth": 4, "heads": 2, "square": None},
        "head": TINY["head"],
    }
)
RANDOM = ["--set", "init.weights=null"]
BRIEF = changes(
    {"train": {"epochs": None, "steps": 2, "evals": 1, "saves": 1, "batch": 2, "log_every": 1}}
)
ONE_SEED = [*SMALL, *BRIEF, *RANDOM, "--seeds", "1"]
SHORTER: dict[tuple[str, ...], Sequence[str]] = {
    ("install", "."): ["--no-deps", "--no-build-isolation"],
    ("data", "demo"): ["--train", "8", "--val", "4"],
    ("train", "demo"): BRIEF,
    ("train", "nuclei_tiny"): BRIEF,
    ("train", "mine.yaml"): [*SMALL, *BRIEF, *RANDOM],
    ("train", "base_50pct"): [*SMALL, *BRIEF, *RANDOM],
    ("convert", "mimdet_base.pth"): SMALL,
    ("ablate", "sampling-ratio", "--data", "coco", "--out", "runs/ratio"): ONE_SEED,
    ("ablate", "sampling-ratio", "--data", "coco", "--out", "shared/ratio"): [
        *ONE_SEED,
        "--commands",
    ],
    ("ablate", "sampling-ratio", "--base"): ["--data", "shapes", "--plan"],
    ("ablate", "backbones", "--base"): ["--data", "shapes", "--seeds", "1", "--plan"],
    ("ablate", "wider.yaml"): [*BRIEF, "--data", "shapes", "--seeds", "1"],
    ("profile",): [*NARROW, "--size", "64x64"],
}
"""First words of a command, and what is added to them."""


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    with loopback() as running:
        yield running


@pytest.fixture(scope="module")
def reader(hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> Reader:
    """Someone with the wheel installed, and with all that the README takes for granted."""
    root = tmp_path_factory.mktemp("readme")
    reader = Reader(
        root, SHORTER, HF_ENDPOINT=hub.url, HF_HOME=str(root / "hf"), NO_PROXY="localhost,127.0.0.1"
    )
    source = root / "checkout"
    parts = ("mimdet_cli", "backbones", "heads", "recipes")
    for part in parts:
        shutil.copytree(ROOT / part, source / part, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE", "Makefile"):
        shutil.copy(ROOT / name, source)
    reader.run("pip install .", source)
    stamps = reader.programs.parent / "stamps"
    stamps.mkdir()
    (stamps / "venv").touch()
    (stamps / "mimdet").touch()  # make need not install what is installed
    reader.environment |= {"VENV": str(stamps.parent)}
    prepare(reader, hub)
    return reader


def prepare(reader: Reader, hub: Hub) -> None:
    """Data, photographs, files of weights and a Hub, under the names that the README uses."""
    folder = reader.folder
    write_demo(folder / "made", train=8, val=4)
    for name in ("data", "coco", "mine", "nuclei"):
        shutil.copytree(folder / "made", folder / name)
    shutil.move(folder / "made" / "val", folder / "photos")
    shutil.rmtree(folder / "made")
    shutil.copy(next((folder / "photos").iterdir()), folder / "photo.jpg")
    for file in (folder / "coco" / "annotations").iterdir():
        document = json.loads(file.read_text())
        document["categories"] = [{"id": c.id, "name": c.name} for c in coco_classes()]
        file.write_text(json.dumps(document))
    catalogue = yaml.safe_load((ROOT / "mimdet_cli" / "weights" / "catalog.yaml").read_text())
    content = {k: torch.zeros(shape) for k, shape in catalogue["mae-base-full"]["holds"].items()}
    torch.save({"model": content}, folder / "mae_pretrain_vit_base_full.pth")
    detector = detector_of("base_50pct", *SMALL[1::2], classes=80)
    torch.save({"model": in_detectron2s_layout(detector)}, folder / "mimdet_base.pth")
    hub.serve("facebook/vit-mae-base", save_tensors({"a": torch.zeros(8)}))
    hub.serve("OWNER/REPO", save_tensors({"a": torch.ones(8)}))


def followed() -> list[Block]:
    """The README's blocks; first those of the section on one's own backbone, which others use."""
    before, heading, rest = README.partition("## Your own backbone\n")
    section, after, rest = rest.partition("\n## ")
    assert heading
    assert after
    return [*blocks(section), *blocks(before), *blocks(rest)]


def in_python(block: Block) -> str:
    """The script of a block of Python, its training shortened."""
    return block.text.replace('"steps": 300', '"steps": 2, "evals": 0')


def test_every_shortened_command_is_in_the_readme() -> None:
    typed = [
        line.removeprefix("$ ").split() for block in followed() for line in block.text.splitlines()
    ]
    for words in SHORTER:
        assert any(line[1 : 1 + len(words)] == list(words) for line in typed), words


@pytest.mark.timeout(1800)
def test_every_command_of_the_readme_works_as_it_is_written(reader: Reader) -> None:
    output, script, file = "", "", ""
    followed_blocks = followed()
    assert len(followed_blocks) >= 14
    for block in followed_blocks:
        if block.kind == "yaml":
            file = block.text
        elif block.kind == "python":
            script += in_python(block)
        elif block.kind == "console":
            output += reader.run(block.text.splitlines()[0].removeprefix("$ "))
        elif block.kind == "bash":
            if made := re.search(r"mimdet ablate (\w+\.yaml)", block.text):
                (reader.folder / made[1]).write_text(file)
            checkout = block.text.startswith(IN_A_CHECKOUT)
            folder = reader.folder.parent / "checkout" if checkout else reader.folder
            output += reader.run(block.text, folder)
    (reader.folder / "lines.py").write_text(script)
    reader.run(f"{reader.python} lines.py")
    for expected in (
        f"mimdet {__version__}\n",
        "18 of 18 promises kept",
        "mine.yaml: valid",
        "box AP ",
        "trained 2 steps",
        "mimdet_release): 100.0 % of the ",
        "channels=128",
        "run folder: runs/released",
    ):
        assert expected in output
    left = {path.name for path in (reader.folder / "runs").iterdir()}
    assert {"demo", "mine", "nuclei", "ratio", "wider", "released", "short"} <= left
