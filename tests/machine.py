"""A user's machine for tests that pull: separate caches, and the command line in processes."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hub import Hub

TIMEOUT_S = 300
HASTE = "import time; sleep = time.sleep; time.sleep = lambda seconds: sleep(seconds / 20)"


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str

    def suggestions(self) -> list[str]:
        """The commands that the message suggests."""
        fix = self.err.partition("  fix: ")[2]
        return [text for text in re.findall(r"`([^`]+)`", fix) if "mimdet " in text]


@dataclass
class Machine:
    """A user's machine: separate caches, and the command line."""

    root: Path
    hub: Hub
    before: Sequence[str] = ()
    env: dict[str, str] = field(default_factory=dict)

    @property
    def cache(self) -> Path:
        return self.root / "hf"

    @property
    def weights(self) -> Path:
        return self.root / "weights"

    def run(self, *words: object, **env: str) -> Outcome:
        """`mimdet WORDS`."""
        done = subprocess.run(
            [*self.before, sys.executable, "-m", "mimdet_cli", *map(str, words)],
            env=self.environment() | env, capture_output=True, text=True, timeout=TIMEOUT_S,
            cwd=self.root, check=False,
        )  # fmt: skip
        return Outcome(done.returncode, done.stdout, done.stderr)

    def suggested(self, outcome: Outcome, index: int = 0, **places: str) -> Outcome:
        """Run a suggested command as it stands, with its placeholders filled."""
        text = outcome.suggestions()[index]
        for name, value in places.items():
            text = text.replace(name, value)
        words = shlex.split(text)
        start = words.index("mimdet")
        env = dict(word.split("=", 1) for word in words[:start])
        return self.run(*words[start + 1 :], **env)

    def environment(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "MIMDET_"))}
        return kept | {
            "HF_ENDPOINT": self.hub.url,
            "HF_HOME": str(self.cache),
            "MIMDET_WEIGHTS": str(self.weights),
            "HF_HUB_DOWNLOAD_TIMEOUT": "1",
            "HF_HUB_ETAG_TIMEOUT": "1",
            "NO_PROXY": "localhost,127.0.0.1",
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(self.haste()),
            **self.env,
        }

    def haste(self) -> Path:
        """A folder on Python's path in which the client's waiting is cut to a twentieth."""
        folder = self.root / "haste"
        folder.mkdir(exist_ok=True)
        (folder / "sitecustomize.py").write_text(HASTE)
        return folder

    def locked(self, name: str = "mae-base") -> dict[str, object]:
        return json.loads((self.weights / "weights.lock.json").read_text())["weights"][name]

    def blobs(self) -> list[Path]:
        """Whatever lies in the shared cache as a file of weights, whole or in part."""
        found = [*self.cache.glob("hub/*/blobs/*"), *self.cache.glob("hub/*/snapshots/*/*")]
        return [path for path in found if path.is_file() or path.is_symlink()]


def without_root(words: Sequence[str] = ()) -> list[str]:
    """A prefix under which permissions hold, also for root."""
    if os.geteuid() != 0:
        return list(words)
    if shutil.which("setpriv") is None:
        pytest.skip("root may write everywhere, and there is no setpriv to take that away")
    return ["setpriv", "--bounding-set=-all", "--inh-caps=-all", *words]


def small_disk(at: Path, size: str) -> list[str]:
    """A prefix that mounts a file system of `size` at `at` for the command alone."""
    script = f'mount -t tmpfs -o size={size} tmpfs {shlex.quote(str(at))} && exec "$@"'
    prefix = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"]
    at.mkdir(exist_ok=True)
    if shutil.which("unshare") is None or subprocess.run([*prefix, "true"], check=False).returncode:
        pytest.skip("this machine lets no user mount a small disk")
    return prefix
