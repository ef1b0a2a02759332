"""`metrics.jsonl`: one line per event, readable during the run."""

import json
import math
from pathlib import Path
from typing import Any

from mimdet_cli.files import write_text


class Journal:
    """Appends events to a file; every line is complete once `write` returns."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, event: str, **fields: Any) -> None:
        """One line; numbers that are not finite become null, since JSON cannot express them."""
        line = json.dumps(_finite({"event": event, **fields}), allow_nan=False)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def read(self) -> list[dict[str, Any]]:
        """All whole lines; a line that a crash truncated is skipped."""
        if not self.path.exists():
            return []
        records = []
        for line in self.path.read_text(encoding="utf-8").splitlines():
            try:
                records.append(json.loads(line))
            except json.JSONDecodeError:
                continue
        return records

    def rewind(self, step: int) -> None:
        """Forget what happened after `step`, before it happens again."""
        kept = [record for record in self.read() if record.get("step", 0) <= step]
        write_text(self.path, "".join(json.dumps(record) + "\n" for record in kept))


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
