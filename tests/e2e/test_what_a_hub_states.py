"""What a Hub states about a file: it is verified, and never says where something is written."""

from hashlib import sha1

import numpy as np
import pytest
from hub import loopback
from machine import Machine
from safetensors.numpy import save

BASE = "facebook/vit-mae-base"
SIZE = 300_000
CONTENT = save({"a": np.zeros(SIZE, np.float32)})


@pytest.fixture
def hub():
    with loopback() as running:
        running.serve(BASE, CONTENT)
        yield running


@pytest.fixture
def machine(hub, tmp_path):
    return Machine(tmp_path, hub)


@pytest.mark.parametrize(
    ("stated", "problem"),
    [
        ({"X-Linked-Etag": '"{outside}"'}, "the hash '\"/"),
        ({"X-Linked-Etag": '"../../../../outside"'}, "the hash '\"../../../../outside\"'"),
        ({"X-Linked-Etag": '"' + "A" * 64 + '"'}, "the hash '\"AAAA"),
        ({"X-Repo-Commit": "../../outside"}, "the commit '../../outside'"),
        ({"X-Linked-Size": "1000000000000000000"}, "a size of 1000000000000000000 bytes"),
    ],
)
def test_hub_does_not_choose_where_its_bytes_are_written(machine, hub, tmp_path, stated, problem):
    outside = tmp_path / "x"
    hub.stated.update({key: value.format(outside=outside) for key, value in stated.items()})
    before = {path for path in tmp_path.rglob("*") if "haste" not in path.parts}
    outcome = machine.run("pull", "mae-base")
    assert (outcome.code, outcome.out) == (4, "")
    assert f"the server states {problem}" in outcome.err
    assert "Traceback" not in outcome.err
    assert "'mae-base' was not downloaded" in outcome.err
    assert not outside.exists()
    made = {path for path in tmp_path.rglob("*") if "haste" not in path.parts} - before
    assert not [path for path in made if path.is_file() and path.stat().st_size > 1000]
    assert hub.count("GET /cdn") == 0


def test_file_stored_without_lfs_is_checked_by_its_git_hash(machine, hub):
    name = sha1(b"blob %d\0" % len(CONTENT) + CONTENT).hexdigest()
    hub.stated["X-Linked-Etag"] = f'"{name}"'
    assert machine.run("pull", "mae-base").code == 0
    hub.clear()
    hub.serve(BASE, save({"a": np.ones(SIZE, np.float32)}))
    hub.stated["X-Linked-Etag"] = f'"{"0" * 40}"'
    outcome = machine.run("weights", "relock", "mae-base")
    assert outcome.code == 4
    assert "arrived damaged" in outcome.err
