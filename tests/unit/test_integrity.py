"""A stranger's `backbones` or `heads` is refused by name before anything else runs."""

import subprocess
import sys

import pytest

from mimdet_cli import integrity
from mimdet_cli.errors import MimdetError


def test_our_own_packages_are_accepted():
    integrity.check()


def test_every_stranger_is_named(tmp_path):
    with pytest.raises(MimdetError) as caught:
        integrity.check(tmp_path)
    assert [error.what for error in caught.value.each()] == [
        "another package shadows mimdet's 'backbones'.",
        "another package shadows mimdet's 'heads'.",
    ]


def test_folder_in_the_working_directory_cannot_shadow_ours(tmp_path):
    (tmp_path / "heads").mkdir()
    (tmp_path / "heads" / "__init__.py").touch()
    (tmp_path / "mimdet_cli").symlink_to(integrity.HOME / "mimdet_cli")
    command = "import sys; from mimdet_cli.main import main; sys.exit(main(['recipe', 'ls']))"
    done = subprocess.run(
        [sys.executable, "-c", command], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == (
        "error: another package shadows mimdet's 'heads'.\n"
        f"  at:  {(tmp_path / 'heads').resolve()}\n"
        "  fix: rename it, or run from another folder; "
        f"mimdet's own is {integrity.HOME / 'heads'}.\n"
    )
