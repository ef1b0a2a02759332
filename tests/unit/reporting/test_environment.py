import json
import subprocess

import torch

import mimdet_cli
from mimdet_cli.reporting.environment import environment, git_commit


def git(folder, *words):
    who = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    subprocess.run(["git", "-C", folder, *who, *words], check=True, capture_output=True)


def test_record_names_versions_machine_and_our_own_backbone():
    record = environment()
    assert json.loads(json.dumps(record)) == record
    assert record["mimdet"] == mimdet_cli.__version__
    assert record["torch"].partition("+")[0] == torch.__version__.partition("+")[0]
    assert record["cpus"] >= 1
    assert record["plugins"]["mimdet"].startswith("mimdet ")


def test_commit_is_named_and_changes_are_marked(tmp_path):
    git(tmp_path, "init", "-q")
    (tmp_path / "file").write_text("one")
    git(tmp_path, "add", "file")
    git(tmp_path, "commit", "-q", "-m", "first")
    commit = git_commit(tmp_path)
    assert len(commit) == 40
    (tmp_path / "file").write_text("two")
    assert git_commit(tmp_path) == f"{commit}+changes"


def test_folder_that_is_no_checkout_or_is_broken_has_no_commit(tmp_path):
    assert git_commit(tmp_path) is None
    (tmp_path / ".git").write_text("gitdir: nowhere")
    assert git_commit(tmp_path) is None
