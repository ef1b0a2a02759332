"""Where things are in the folder of an ablation; see `run.claiming` for what they are."""

import json
from pathlib import Path
from typing import Any

from mimdet_cli.errors import DataError

RECORDS = "ablations"
RUNS = "runs"
REPORTS = "reports"
EVALUATIONS = "evals"
CELL = "cell.json"
LAST = Path("run") / "last"


def run_folder(out: Path, name: str) -> Path:
    """The folder of the run with a hash."""
    return out / RUNS / name


def read_record(path: Path) -> dict[str, Any]:
    """A JSON file of ours; empty if it is not there."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise damaged(path, f"{error}") from error


def damaged(path: Path, why: str) -> DataError:
    """What is said of a file of ours that is not as it was written."""
    return DataError(
        f"the record is damaged: {why}.",
        where=str(path),
        fix="delete it and run the ablation again, which does anew what the record was about.",
    )
