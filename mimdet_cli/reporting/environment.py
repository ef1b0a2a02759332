"""The environment of a run: versions, machine, commit, and the packages that provide backbones."""

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

import mimdet_cli
from mimdet_cli.plugins import recipe_name, registrations

PACKAGES = ("torch", "torchvision", "timm", "numpy", "pycocotools", "Pillow")


def environment() -> dict[str, Any]:
    """A record for the run folder; `git_commit` is None outside a checkout."""
    return {
        "mimdet": mimdet_cli.__version__,
        "python": platform.python_version(),
        **{name.lower(): version(name) for name in PACKAGES},
        "cuda": torch.version.cuda,
        "platform": platform.platform(),
        "cpus": os.process_cpu_count() if hasattr(os, "process_cpu_count") else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "git_commit": git_commit(Path(mimdet_cli.__file__).parent.parent),
        "plugins": plugins(),
    }


def git_commit(checkout: Path) -> str | None:
    """The commit of a checkout, with "+changes" if tracked files differ from it."""
    if not (checkout / ".git").exists():
        return None
    try:
        commit = _git(checkout, "rev-parse", "HEAD")
        changed = _git(checkout, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return None  # git is not installed, or does not trust this folder
    return f"{commit}+changes" if changed else commit


def plugins() -> dict[str, str]:
    """Usable backbones by name, each with its distribution and version."""
    return {
        recipe_name(registration): registration.provider
        for registration in registrations()
        if registration.allowed
    }


def _git(checkout: Path, *words: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(checkout), *words], capture_output=True, text=True, check=True, timeout=10
    )
    return done.stdout.strip()
