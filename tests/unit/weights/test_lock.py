"""The lock file: what is recorded, who may change it, and when a file still counts as recorded."""

import os
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import replace

import pytest

from mimdet_cli.errors import WeightsError
from mimdet_cli.files import replacing, sha256
from mimdet_cli.weights import lock
from mimdet_cli.weights.catalog import CatalogEntry
from mimdet_cli.weights.lock import Locked

RECORD = Locked(file="model.safetensors", sha256="ab" * 32, bytes=3, repo="o/r", commit="cd" * 20)
OWN = CatalogEntry(
    "a thing", "mae", "MIT", repo="o/r", file="x.safetensors", pixel_mean=(1.0, 2.0, 3.0)
)


def recorded(folder, content=b"abc") -> tuple[Locked, object]:
    """A stored file and its record."""
    path = folder / "it.safetensors"
    path.write_bytes(content)
    record = Locked(
        file="it.pth", sha256=sha256(path), bytes=len(content), stored=path.name,
        mtime_ns=path.stat().st_mtime_ns,
    )  # fmt: skip
    lock.write(folder, "it", record, over=None)
    return record, path


def test_record_is_read_as_it_was_written(tmp_path):
    assert lock.read(tmp_path) == {}
    for name, record in (("a", RECORD), ("b", replace(RECORD, entry=OWN, mtime_ns=7))):
        assert lock.write(tmp_path, name, record, over=None) == record
        assert lock.read(tmp_path)[name] == record
    assert sorted(lock.read(tmp_path)) == ["a", "b"]


def test_record_of_another_process_is_not_overwritten(tmp_path):
    theirs = replace(RECORD, sha256="ef" * 32)
    lock.write(tmp_path, "a", theirs, over=None)
    assert lock.write(tmp_path, "a", RECORD, over=None) == theirs
    assert lock.read(tmp_path)["a"] == theirs
    assert lock.write(tmp_path, "a", RECORD, over=theirs) == RECORD


def write_one(folder, index: int) -> None:
    lock.write(folder, f"name-{index}", RECORD, over=None)


def test_processes_that_write_at_once_lose_no_record(tmp_path):
    with ProcessPoolExecutor(4) as pool:
        list(pool.map(write_one, [tmp_path] * 24, range(24)))
    assert len(lock.read(tmp_path)) == 24
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        ".weights.lock.json.held",
        "weights.lock.json",
    ]


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"weights": 3}', '{"weights": {"a": {"sha": "x"}}}', '{"a": 1}']
)
def test_lock_file_that_is_damaged_is_an_error_that_names_it(tmp_path, text):
    (tmp_path / lock.NAME).write_text(text)
    with pytest.raises(WeightsError) as caught:
        lock.read(tmp_path)
    assert caught.value.where == str(tmp_path / lock.NAME)
    assert f"rm {tmp_path / lock.NAME}" in caught.value.fix


def test_file_with_the_recorded_size_and_stamp_is_not_hashed_again(tmp_path, monkeypatch):
    record, path = recorded(tmp_path)
    monkeypatch.setattr(lock, "sha256", lambda _: pytest.fail("hashed"))
    assert lock.intact(tmp_path, "it", record, path)


def test_touched_file_is_hashed_once_and_then_has_its_new_stamp(tmp_path):
    record, path = recorded(tmp_path)
    os.utime(path, ns=(1, 2_000_000_000))
    assert lock.intact(tmp_path, "it", record, path)
    assert lock.read(tmp_path)["it"].mtime_ns == 2_000_000_000


def test_changed_file_of_the_same_size_is_found_out_by_its_hash(tmp_path):
    record, path = recorded(tmp_path)
    path.write_bytes(b"xyz")
    os.utime(path, ns=(1, 2_000_000_000))
    assert not lock.intact(tmp_path, "it", record, path)
    assert lock.read(tmp_path)["it"] == record


def test_shortened_and_missing_files_are_not_intact(tmp_path):
    record, path = recorded(tmp_path)
    path.write_bytes(b"ab")
    assert not lock.intact(tmp_path, "it", record, path)
    path.unlink()
    assert not lock.intact(tmp_path, "it", record, path)


def test_file_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / "new" / "file"
    with suppress(KeyError), replacing(path) as partial:
        partial.write_bytes(b"half")
        raise KeyError
    assert list(path.parent.iterdir()) == []
    with replacing(path) as partial:
        partial.write_bytes(b"whole")
    assert path.read_bytes() == b"whole"
