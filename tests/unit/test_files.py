"""Files and folders appear complete or not at all."""

import os
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from safetensors.torch import save_file

from mimdet_cli.files import link_or_copy, replacing, sha256, whole_folder, write_text
from mimdet_cli.weights.write import write_safetensors


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_folder_appears_when_it_is_complete(tmp_path):
    with whole_folder(tmp_path / "last") as partial:
        (partial / "a").write_text("1")
        assert not (tmp_path / "last").exists()
    assert names(tmp_path) == ["last"]
    assert names(tmp_path / "last") == ["a"]


def test_older_folder_is_replaced_as_a_whole(tmp_path):
    (tmp_path / "last").mkdir()
    (tmp_path / "last" / "old").touch()
    with whole_folder(tmp_path / "last") as partial:
        (partial / "new").touch()
    assert names(tmp_path) == ["last"]
    assert names(tmp_path / "last") == ["new"]


def test_mistake_while_filling_leaves_the_older_folder(tmp_path):
    (tmp_path / "last").mkdir()
    (tmp_path / "last" / "old").touch()

    def fill_half() -> None:
        with whole_folder(tmp_path / "last") as partial:
            (partial / "new").touch()
            raise RuntimeError("disk")

    with pytest.raises(RuntimeError, match="disk"):
        fill_half()
    assert names(tmp_path) == ["last"]
    assert names(tmp_path / "last") == ["old"]


def killed_while_filling(folder) -> list[str]:
    """What a process leaves in `folder` that ends in the midst of filling `last`."""
    code = (
        "import os, pathlib, sys; from mimdet_cli.files import whole_folder\n"
        "with whole_folder(pathlib.Path(sys.argv[1])) as partial:\n"
        "    (partial / 'junk').touch(); os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", code, folder / "last"]).returncode == 9
    return names(folder)


def test_remains_of_a_killed_process_are_no_obstacle_and_go_after_a_day(tmp_path):
    (remains,) = killed_while_filling(tmp_path)
    (tmp_path / ".other.partial").mkdir()
    with whole_folder(tmp_path / "last") as partial:
        (partial / "new").touch()
    assert names(tmp_path / "last") == ["new"]
    assert names(tmp_path) == [remains, ".other.partial", "last"]  # it may be at work still
    yesterday = time.time() - 25 * 3600
    for path in (*(tmp_path / remains).iterdir(), tmp_path / remains, tmp_path / ".other.partial"):
        os.utime(path, (yesterday, yesterday))
    with whole_folder(tmp_path / "best"):
        pass
    assert names(tmp_path) == [".other.partial", "best", "last"]


def test_two_writers_of_a_folder_do_not_meet(tmp_path):
    with whole_folder(tmp_path / "last") as one, whole_folder(tmp_path / "last") as other:
        (one / "one").touch()
        (other / "other").touch()
    assert names(tmp_path / "last") == ["one"]  # the outer one ended last
    assert names(tmp_path) == ["last"]


def test_many_writers_of_a_folder_at_once_leave_one_whole_folder(tmp_path):
    def fill(number: int) -> None:
        for _ in range(20):
            with whole_folder(tmp_path / "last") as partial:
                (partial / "a").write_text(str(number))
                (partial / "b").write_text(str(number))

    with ThreadPoolExecutor(4) as writers:
        list(writers.map(fill, range(4)))
    assert names(tmp_path) == ["last"]
    assert len({(tmp_path / "last" / name).read_text() for name in ("a", "b")}) == 1


def test_text_replaces_a_file_and_leaves_nothing_beside_it(tmp_path):
    write_text(tmp_path / "a", "one")
    write_text(tmp_path / "a", "zwölf")
    assert (tmp_path / "a").read_text(encoding="utf-8") == "zwölf"
    assert names(tmp_path) == ["a"]


def mode(path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(params=[0o022, 0o027], ids=["022", "027"])
def asked(request) -> Iterator[int]:
    """The permissions that a new file has by the user's umask."""
    before = os.umask(request.param)
    yield 0o666 & ~request.param
    os.umask(before)


def test_file_has_the_permissions_that_the_user_asks_for(tmp_path, asked):
    write_text(tmp_path / "a", "one")
    write_safetensors(tmp_path / "b", {"x": torch.ones(1)}, {})
    assert [mode(tmp_path / name) for name in "ab"] == [asked] * 2


def test_files_of_a_folder_have_the_permissions_that_the_user_asks_for(tmp_path, asked):
    with whole_folder(tmp_path / "last") as partial:
        (partial / "sub").mkdir()
        save_file({"x": torch.ones(1)}, partial / "sub" / "a")
        assert mode(partial / "sub" / "a") == 0o600  # whence the need
    assert mode(tmp_path / "last" / "sub" / "a") == asked
    assert names(tmp_path / "last") == ["sub"]


def test_two_writers_of_a_file_do_not_meet(tmp_path):
    with replacing(tmp_path / "a") as one, replacing(tmp_path / "a") as other:
        one.write_text("one")
        other.write_text("other")
    assert (tmp_path / "a").read_text() == "one"  # the outer one ended last
    assert names(tmp_path) == ["a"]


def test_mistake_while_writing_leaves_the_older_file(tmp_path):
    write_text(tmp_path / "a", "old")

    def write_half() -> None:
        with replacing(tmp_path / "a") as partial:
            partial.write_text("ne")
            raise RuntimeError("disk")

    with pytest.raises(RuntimeError, match="disk"):
        write_half()
    assert (tmp_path / "a").read_text() == "old"
    assert names(tmp_path) == ["a"]


def test_linked_file_outlives_the_first_name(tmp_path):
    (tmp_path / "a").write_text("x")
    link_or_copy(tmp_path / "a", tmp_path / "b")
    (tmp_path / "a").unlink()
    assert sha256(tmp_path / "b") == (
        "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"
    )
