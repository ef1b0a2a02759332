"""A distribution with a backbone on the import path, without pip."""

from pathlib import Path

from mimdet_cli import plugins


def install(
    folder: Path, distribution: str, line: str, source: str = "", options: str = ""
) -> None:
    """A distribution of one module, as pip would leave it; `options` is a line of that group."""
    info = folder / f"{distribution}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
    groups = f"[{plugins.GROUP}]\n{line}\n[{plugins.OPTIONS_GROUP}]\n{options}\n"
    (info / "entry_points.txt").write_text(groups)
    (folder / f"{distribution}_module.py").write_text(source)
