"""`mimdet pull` against a Hub on the loopback interface, spoken to by the real client.

After every failure: exit code 4, a message whose suggested command is run and mends it, and no file
that a later run would accept.
"""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from hub import TOKEN, cut, loopback, short, stall, status
from machine import Machine, Outcome, small_disk, without_root
from safetensors.numpy import load_file, save

BASE = "facebook/vit-mae-base"
SIZE = 300_000


def made_weights(seed: int, numbers: int = SIZE) -> bytes:
    return save({"a": np.full(numbers, seed, np.float32), "b": np.arange(7, dtype=np.float32)})


@pytest.fixture(scope="module")
def server():
    with loopback() as hub:
        yield hub


@pytest.fixture
def hub(server):
    """The hub as a fresh one, with MAE Base."""
    server.clear()
    server.serve(BASE, made_weights(1))
    return server


@pytest.fixture
def machine(hub, tmp_path):
    return Machine(tmp_path, hub)


def refused(outcome: Outcome, message: str) -> Outcome:
    assert (outcome.code, outcome.out) == (4, ""), outcome
    assert message in outcome.err
    assert "Traceback" not in outcome.err
    assert outcome.suggestions()
    return outcome


def test_first_pull_records_commit_and_hash_and_the_next_needs_no_network(machine, hub):
    first = machine.run("pull", "mae-base", "--json")
    assert first.code == 0, first.err
    (record,) = json.loads(first.out)
    locked = machine.locked()
    assert record["sha256"] == locked["sha256"] == sha256(made_weights(1)).hexdigest()
    assert record["commit"] == locked["commit"] == hub.repos[BASE].refs["main"]
    assert len(record["commit"]) == 40
    assert Path(record["path"]).read_bytes() == made_weights(1)
    assert machine.cache in Path(record["path"]).parents  # the shared cache, not a copy
    assert "first time on this machine" in first.err
    assert "contradicts" in first.err  # the licence conflict
    hub.requests.clear()
    second = machine.run("pull", "mae-base", HF_HUB_OFFLINE="1")
    assert (second.code, second.err) == (0, "")
    assert "already here" in second.out
    assert hub.requests == []


def test_dry_run_fetches_and_records_nothing(machine, hub):
    outcome = machine.run("pull", "mae-base", "--dry-run")
    assert outcome.code == 0
    assert "would be fetched" in outcome.out
    assert hub.repos[BASE].refs["main"] in outcome.out
    assert machine.blobs() == []
    assert not machine.weights.exists()
    assert hub.count("/cdn/") == 0


def test_list_says_what_is_cached(machine):
    assert machine.run("pull", "mae-base").code == 0
    listed = json.loads(machine.run("weights", "ls", "--json").out)
    records = {record["name"]: record for record in listed}
    assert [name for name, one in records.items() if one["cached"]] == ["mae-base"]
    lines = machine.run("weights", "ls").out.splitlines()
    assert lines[0].split() == ["name", "contents", "size", "licence", "source", "cached"]
    assert len(lines) == len(records) + 1 >= 25


def test_cut_body_is_resumed_where_it_stopped(machine, hub):
    content = made_weights(1, 6_000_000)
    hub.serve(BASE, content)
    hub.fail("GET /cdn", cut(21_500_000))
    outcome = machine.run("pull", "mae-base")
    assert outcome.code == 0, outcome.err
    assert "hub: Error while downloading from localhost" in outcome.err
    assert hub.ranges == [20 * 2**20]  # the client keeps whole pieces of 10 MiB
    assert Path(outcome.out.rpartition(": ")[2].strip()).read_bytes() == content


def test_truncated_file_is_refused_and_not_kept(machine, hub):
    hub.fail("GET /cdn", short(SIZE))
    outcome = refused(machine.run("pull", "mae-base"), "was cut short")
    assert machine.blobs() == []
    assert machine.suggested(outcome).code == 0


def test_wrong_hash_is_refused_and_not_kept(machine, hub):
    digest = hub.damage(BASE)
    outcome = refused(machine.run("pull", "mae-base"), f"the Hub states {digest}")
    assert machine.blobs() == []
    hub.serve(BASE, made_weights(1))
    assert machine.suggested(outcome).code == 0


def test_lock_of_the_first_pull_is_enforced_on_the_second(machine, hub):
    assert machine.run("pull", "mae-base").code == 0
    old = machine.locked()
    shutil.rmtree(machine.cache)
    hub.serve(BASE, made_weights(2))  # main has moved on; the recorded commit still serves
    again = machine.run("pull", "mae-base")
    assert again.code == 0, again.err
    assert {**machine.locked(), "mtime_ns": 0} == {**old, "mtime_ns": 0}
    shutil.rmtree(machine.cache)
    hub.rewrite(BASE, old["commit"], made_weights(3))  # what no honest Hub does
    outcome = refused(machine.run("pull", "mae-base"), f"recorded is {old['sha256']}")
    assert machine.blobs() == []
    assert machine.locked()["sha256"] == old["sha256"]
    assert machine.run("pull", "mae-base", HF_HUB_OFFLINE="1").code == 4  # nothing to accept
    relocked = machine.suggested(outcome)
    assert relocked.code == 0, relocked.err
    assert machine.locked()["commit"] == hub.repos[BASE].refs["main"] != old["commit"]


def test_file_that_was_changed_on_disk_is_fetched_again(machine):
    assert machine.run("pull", "mae-base").code == 0
    path = machine.blobs()[0].resolve()
    path.write_bytes(made_weights(9))
    outcome = machine.run("pull", "mae-base")
    assert outcome.code == 0, outcome.err
    assert "fetching it again" in outcome.err
    assert path.read_bytes() == made_weights(1)


@pytest.mark.parametrize(
    ("spoil", "message", "mend", "index"),
    [
        pytest.param(
            lambda hub: hub.repos.clear(), "no repository 'facebook/vit-mae-base'",
            lambda hub: hub.serve(BASE, made_weights(1)), 0, id="404 repository",
        ),
        pytest.param(
            lambda hub: hub.rename(BASE, "weights.safetensors"),
            "has no file 'model.safetensors' at 'main'; it has weights.safetensors",
            lambda hub: None, 0, id="404 file",
        ),
        pytest.param(
            lambda hub: setattr(hub.repos[BASE], "gated", True), "have accepted its terms",
            lambda hub: None, 0, id="401 gated without token",
        ),
    ],
)  # fmt: skip
def test_what_the_hub_does_not_give_is_explained(machine, hub, spoil, message, mend, index):
    spoil(hub)
    outcome = refused(machine.run("pull", "mae-base"), message)
    assert machine.blobs() == []
    mend(hub)
    mended = machine.suggested(outcome, index, **{"hf_...": TOKEN})
    assert mended.code == 0, mended.err
    assert machine.locked()["sha256"]


def test_gated_repository_refuses_a_token_whose_user_has_not_accepted(machine, hub):
    repo = hub.repos[BASE]
    repo.gated, repo.admitted = True, False
    machine.env["HF_TOKEN"] = TOKEN
    outcome = refused(machine.run("pull", "mae-base"), "this token's user has not")
    assert machine.blobs() == []
    repo.admitted = True
    assert machine.suggested(outcome).code == 0


def test_token_that_the_hub_does_not_know_is_refused_also_for_what_is_open_to_all(machine):
    machine.env["HF_TOKEN"] = "hf_mistyped"
    outcome = refused(machine.run("pull", "mae-base"), "the token is wrong or lacks")
    assert machine.blobs() == []
    mended = machine.suggested(outcome, **{"hf_...": TOKEN})
    assert mended.code == 0, mended.err


def test_missing_revision_names_the_way_to_the_main_branch(machine, hub):
    hub.serve("facebook/vit-mae-large", made_weights(1))  # without the catalogue's refs/pr/1
    outcome = refused(machine.run("pull", "mae-large"), "has no revision 'refs/pr/1'")
    assert machine.suggested(outcome).code == 0
    assert machine.locked("mae-large")["commit"] == hub.repos["facebook/vit-mae-large"].refs["main"]


def test_pull_request_of_the_catalogue_is_resolved_to_its_commit(machine, hub):
    commit = hub.serve("facebook/vit-mae-large", made_weights(4), ref="refs/pr/1")
    assert machine.run("pull", "mae-large").code == 0
    assert machine.locked("mae-large")["commit"] == commit


def test_requests_that_are_turned_away_for_good_end_in_a_message(hub, tmp_path):
    """Four machines at once, since the client waits before each of its attempts."""
    cases = {
        "deit-tiny": (status(429), "too many requests to the Hub"),
        "deit-small": (status(500), "answered with an error (500)"),
        "deit-base": (stall(1.5), "cannot be reached, or stopped sending"),
        "mae-base": (lambda _: False, "cannot be reached, or stopped sending"),
    }
    machines = {name: Machine(tmp_path / name, hub) for name in cases}
    for name, (act, _) in cases.items():
        machines[name].root.mkdir()
        repo = f"timm/deit_{name.removeprefix('deit-')}_patch16_224.fb_in1k"
        hub.serve(repo, made_weights(5))
        hub.fail(f"{repo}/resolve", act, times=99)
    machines["mae-base"].env["HF_ENDPOINT"] = "http://127.0.0.1:9"  # nobody listens there
    with ThreadPoolExecutor() as pool:
        outcomes = dict(
            zip(cases, pool.map(lambda name: machines[name].run("pull", name), cases), strict=True)
        )
    hub.faults.clear()
    del machines["mae-base"].env["HF_ENDPOINT"]
    for name, (_, message) in cases.items():
        refused(outcomes[name], message)
        assert machines[name].blobs() == []
        assert machines[name].suggested(outcomes[name]).code == 0


@pytest.mark.parametrize(
    ("code", "at"), [(429, "HEAD /facebook"), (500, "HEAD /facebook"), (429, "GET /cdn")]
)
def test_passing_errors_of_the_hub_are_waited_out(machine, hub, code, at):
    hub.fail(at, status(code, Retry_After="0"))
    outcome = machine.run("pull", "mae-base")
    assert outcome.code == 0, outcome.err
    assert machine.locked()["commit"]


def test_offline_without_cache_names_the_two_ways_on(machine, tmp_path):
    offline = refused(machine.run("pull", "mae-base", HF_HUB_OFFLINE="1"), "forbids the network")
    usb = str(tmp_path / "usb")
    other = Machine(tmp_path / "other", machine.hub)
    other.root.mkdir()
    assert other.suggested(offline, 1).code == 0  # `mimdet pull mae-base`
    exported = other.suggested(offline, 2, DIR=usb)  # `mimdet weights export mae-base --to DIR`
    assert exported.code == 0, exported.err
    machine.env["HF_HUB_OFFLINE"] = "1"
    arrived = machine.suggested(offline, 3, DIR=usb)  # `mimdet pull --from DIR`
    assert arrived.code == 0, arrived.err
    assert machine.locked()["commit"] == other.locked()["commit"]
    assert (machine.weights / "mae-base.safetensors").read_bytes() == made_weights(1)
    assert machine.run("pull", "mae-base").code == 0
    assert machine.suggested(offline, 0).code == 0  # `HF_HUB_OFFLINE=0 mimdet pull mae-base`


def test_damaged_copy_is_refused_on_arrival(machine, tmp_path):
    usb = tmp_path / "usb"
    assert machine.run("pull", "mae-base").code == 0
    assert machine.run("weights", "export", "mae-base", "--to", usb).code == 0
    (usb / "mae-base.safetensors").write_bytes(made_weights(1)[:-1])
    other = Machine(tmp_path / "other", machine.hub)
    other.root.mkdir()
    outcome = refused(other.run("pull", "--from", usb), "'mae-base' is damaged")
    assert not (other.weights / "mae-base.safetensors").exists()
    assert machine.suggested(outcome, DIR=str(usb)).code == 0
    assert other.run("pull", "--from", usb).code == 0


def test_cache_that_may_not_be_written_names_another_place(machine, tmp_path):
    machine.cache.mkdir()
    machine.cache.chmod(0o555)
    machine.before = without_root()
    outcome = refused(machine.run("pull", "mae-base"), "the Hub's cache is not writable")
    elsewhere = machine.suggested(outcome, DIR=str(tmp_path / "elsewhere"))
    assert elsewhere.code == 0, elsewhere.err


def test_cache_that_may_only_be_read_serves_what_it_has(machine):
    assert machine.run("pull", "mae-base").code == 0
    for path in [machine.cache, *machine.cache.rglob("*")]:
        if path.is_dir():
            path.chmod(0o555)
    machine.before = without_root()
    outcome = machine.run("pull", "mae-base")
    assert (outcome.code, outcome.err) == (0, "")


def test_full_disk_is_reported_and_leaves_nothing(machine, tmp_path):
    machine.before = small_disk(machine.cache, "400k")
    outcome = refused(machine.run("pull", "mae-base"), "no space is left for 'mae-base'")
    assert not (machine.weights / "weights.lock.json").exists()
    machine.before = ()
    assert machine.suggested(outcome, DIR=str(tmp_path / "larger")).code == 0


def test_full_weights_folder_is_reported_and_leaves_nothing(machine, tmp_path):
    (tmp_path / "own weights.safetensors").write_bytes(made_weights(1))
    words = ("weights", "import", "own weights.safetensors", "--as", "own", "--format", "mae")
    machine.before = small_disk(machine.weights, "400k")
    outcome = refused(machine.run(*words), "'own' cannot be written: ")
    assert "No space left" in outcome.err
    assert list(machine.weights.iterdir()) == []
    machine.before = ()
    mended = machine.suggested(outcome, DIR=str(tmp_path / "larger"))
    assert mended.code == 0, mended.err


def test_folder_that_may_not_be_written_takes_neither_record_nor_copy(machine, tmp_path):
    shut = tmp_path / "shut"
    shut.mkdir(mode=0o555)
    machine.before = without_root()
    outcome = refused(
        machine.run("pull", "mae-base", MIMDET_WEIGHTS=str(shut)),
        "'mae-base' cannot be written: Permission denied.",
    )
    assert machine.suggested(outcome, DIR=str(machine.weights)).code == 0
    words = ("weights", "export", "mae-base", "--to")
    outcome = refused(machine.run(*words, shut), "Permission denied.")
    assert machine.suggested(outcome, DIR=str(tmp_path / "usb")).code == 0
    assert (tmp_path / "usb/mae-base.safetensors").read_bytes() == made_weights(1)


def test_two_pulls_at_once_end_with_one_good_file(machine, hub):
    with ThreadPoolExecutor(3) as pool:
        outcomes = list(pool.map(lambda _: machine.run("pull", "mae-base"), range(3)))
    assert [one.code for one in outcomes] == [0, 0, 0], outcomes
    (snapshot,) = machine.cache.glob("hub/models--*/snapshots/*/model.safetensors")
    assert snapshot.read_bytes() == made_weights(1)
    assert len(list(machine.cache.glob("hub/models--*/blobs/*"))) == 1
    assert machine.run("pull", "mae-base", HF_HUB_OFFLINE="1").code == 0


def test_pulls_of_several_names_go_on_after_one_that_fails(machine, hub):
    outcome = machine.run("pull", "deit-tiny", "mae-base")
    assert outcome.code == 4
    assert "no repository 'timm/deit_tiny" in outcome.err
    assert machine.locked("mae-base")


def test_repository_beside_the_catalogue_is_pulled_with_its_format_named(machine, hub):
    hub.serve("someone/thing", made_weights(6))
    outcome = refused(machine.run("pull", "someone/thing"), "it is never guessed")
    assert machine.suggested(outcome).code == 0
    assert machine.locked("thing")["entry"]["licence"] == "Hub says apache-2.0"
    assert machine.run("pull", "thing", HF_HUB_OFFLINE="1").code == 0


def test_pickles_of_strange_repositories_are_not_fetched(machine, hub):
    hub.serve("someone/thing", b"cos\nsystem\n", file="model.bin")
    outcome = machine.run("pull", "someone/thing", "--format", "mae", "--file", "model.bin")
    refused(outcome, "is not a safetensors file")
    assert hub.count("/resolve/") == 0


def test_pages_that_pose_as_safetensors_are_refused(machine, hub):
    hub.serve("someone/thing", b"<html>log in</html>")
    outcome = machine.run("pull", "someone/thing", "--format", "mae", "--as", "it")
    refused(outcome, "is not a safetensors file")
    assert machine.blobs() == []
    assert not (machine.weights / "weights.lock.json").exists()


def test_pickle_of_the_catalogue_becomes_safetensors(machine, hub, tmp_path):
    import torch

    torch.save({"a": torch.ones(3)}, tmp_path / "made.bin")
    content = (tmp_path / "made.bin").read_bytes()
    hub.serve("facebook/vit-mae-large", content, file="pytorch_model.bin")
    words = ("pull", "mae-large", "--revision", "main", "--file", "pytorch_model.bin")
    outcome = machine.run(*words)
    assert outcome.code == 0, outcome.err
    stored = machine.weights / "mae-large.safetensors"
    assert list(load_file(stored)) == ["a"]
    stored.unlink()
    assert machine.run("pull", "mae-large").code == 0  # the same commit and pickle again
    assert list(load_file(stored)) == ["a"]


def test_missing_weights_of_a_recipe_name_both_commands(machine, mimdet, tiny, shapes, monkeypatch):
    monkeypatch.setenv("MIMDET_WEIGHTS", str(machine.weights))
    run = machine.root / "run"
    result = mimdet("train", tiny, "--data", shapes, "--out", run, "--set", "init.weights=mae-base")
    outcome = Outcome(result.code, result.out, result.err)
    refused(outcome, "'mae-base' (MAE ViT-Base, encoder and decoder) is not on this machine")
    assert outcome.suggestions() == [
        "mimdet pull mae-base",
        "mimdet weights import FILE --as mae-base-full",
    ]
    assert machine.suggested(outcome).code == 0
    assert not run.exists()
