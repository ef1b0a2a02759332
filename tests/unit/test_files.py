"""Files and folders are there whole or not at all."""

import os
import stat

import pytest

from mimdet_cli.files import link_or_copy, replacing, sha256, whole_folder, write_text


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


def test_remains_of_a_killed_process_are_no_obstacle(tmp_path):
    for remains in (".last.partial", ".last.old"):
        (tmp_path / remains).mkdir()
        (tmp_path / remains / "junk").touch()
    with whole_folder(tmp_path / "last") as partial:
        (partial / "new").touch()
    assert names(tmp_path / "last") == ["new"]


def test_text_replaces_a_file_and_leaves_nothing_beside_it(tmp_path):
    write_text(tmp_path / "a", "one")
    write_text(tmp_path / "a", "zwölf")
    assert (tmp_path / "a").read_text(encoding="utf-8") == "zwölf"
    assert names(tmp_path) == ["a"]


def test_file_has_the_permissions_that_the_user_asks_for(tmp_path):
    before = os.umask(0o027)
    try:
        write_text(tmp_path / "a", "one")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640


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
