"""The Python files of the checkout, for tests that read sources."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("mimdet_cli", "backbones", "heads")


def python_files(*folders: str) -> list[Path]:
    """Those below some folders, which are not few."""
    files = [file for folder in folders for file in sorted((ROOT / folder).rglob("*.py"))]
    assert len(files) >= 40
    return files
