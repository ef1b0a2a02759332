"""The notebook-style example runs from an empty folder and leaves what it says."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from PIL import Image

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "from_python.py"
STEPS = '"steps": 60'


def test_every_cell_of_the_example_runs(tmp_path):
    text = EXAMPLE.read_text(encoding="utf-8")
    assert text.count("# %%") >= 7
    assert STEPS in text
    script = tmp_path / "cells.py"
    script.write_text(text.replace(STEPS, '"steps": 4'), encoding="utf-8")
    beside = str(Path(sys.executable).parent)
    done = subprocess.run(
        [sys.executable, "-P", str(script)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        env={
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "PATH": os.pathsep.join((beside, os.environ["PATH"])),
        },
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    run = tmp_path / "runs" / "from-python"
    assert re.fullmatch(r"4 steps in \d+ s, in runs/from-python", lines[1])
    assert "1 evaluation of each image, 0.5 of the tokens" in lines
    assert re.fullmatch(r"3,\d{3},\d{3} parameters", lines[-1])
    results = json.loads((run / "eval" / "last-ratio0.5" / "results.json").read_text())
    assert results["ratio"] == 0.5
    assert sum(line.startswith("<Prediction: ") for line in lines) == 2
    for number in (1, 2):
        with Image.open(tmp_path / f"drawn-{number}.png") as drawn:
            assert min(drawn.size) == 480
    assert "step 4/4" in done.stderr  # the console that was given to the training
