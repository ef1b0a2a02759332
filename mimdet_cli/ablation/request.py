"""What was asked for on the command line, and the command that asks for one run of it."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Request:
    """The ablation and how it differs from its file.

    `overrides` are the texts of `--set`, `added` the names of `--add`; `out` is the folder of all
    its runs.
    """

    name: str
    base: str | None = None
    data: Path | None = None
    seeds: int | None = None
    overrides: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    out: Path = Path("runs")

    def arguments(self) -> list[str]:
        """The words behind `mimdet ablate` that ask for the same."""
        words = [self.name]
        words += [] if self.base is None else ["--base", self.base]
        words += [] if self.data is None else ["--data", str(self.data)]
        words += [] if self.seeds is None else ["--seeds", str(self.seeds)]
        words += [word for text in self.overrides for word in ("--set", text)]
        words += [word for name in self.added for word in ("--add", name)]
        return [*words, "--out", str(self.out)]
