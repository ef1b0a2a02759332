"""The global state of the process: read, compared and restored."""

import logging
import os
import random
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from typing import Any

import numpy as np
import torch

LONGEST = 40


@dataclass(frozen=True, slots=True)
class GlobalSetting:
    """One global value; `put` is None where `preserved` restores it by other means."""

    name: str
    read: Callable[[], Any]
    put: Callable[[Any], object] | None = None


def read_numpy() -> tuple[str, bytes, int]:
    """The state of numpy's global generator, in a form that `==` compares."""
    kind, keys, position, *_ = np.random.get_state(legacy=True)
    return str(kind), np.asarray(keys).tobytes(), int(str(position))


def read_logging() -> tuple[int, tuple[logging.Handler, ...]]:
    """Level and handlers of the root logger."""
    root = logging.getLogger()
    return root.level, tuple(root.handlers)


def put_logging(state: tuple[int, tuple[logging.Handler, ...]]) -> None:
    """Restore the root logger."""
    root = logging.getLogger()
    root.setLevel(state[0])
    root.handlers[:] = state[1]


def put_environment(values: dict[str, str]) -> None:
    """Restore the environment."""
    os.environ.clear()
    os.environ.update(values)


def put_device(device: torch.device) -> None:
    """Set the default device; None is the cheap way to say CPU."""
    torch.set_default_device(None if device.type == "cpu" else device)


def read_determinism() -> tuple[bool, bool]:
    """Whether deterministic algorithms are required, and whether only by a warning."""
    return (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )


def put_determinism(state: tuple[bool, bool]) -> None:
    """Restore what `read_determinism` read."""
    torch.use_deterministic_algorithms(state[0], warn_only=state[1])


def read_cudnn() -> tuple[bool, bool, bool]:
    """cuDNN's switches: enabled, benchmark, deterministic."""
    flags = torch.backends.cudnn
    return flags.enabled, flags.benchmark, flags.deterministic


def put_cudnn(state: tuple[bool, bool, bool]) -> None:
    """Restore what `read_cudnn` read."""
    flags = torch.backends.cudnn
    flags.enabled, flags.benchmark, flags.deterministic = state


def put_path(folders: list[str]) -> None:
    """Restore the module search path."""
    sys.path[:] = folders


SETTINGS = (
    GlobalSetting("Python's random state", random.getstate, random.setstate),
    GlobalSetting("numpy's random state", read_numpy),
    GlobalSetting("torch's seed", torch.initial_seed),
    GlobalSetting("default dtype", torch.get_default_dtype, torch.set_default_dtype),
    GlobalSetting("default device", torch.get_default_device, put_device),
    GlobalSetting("number of threads", torch.get_num_threads, torch.set_num_threads),
    GlobalSetting("deterministic algorithms", read_determinism, put_determinism),
    GlobalSetting("cuDNN's switches", read_cudnn, put_cudnn),
    GlobalSetting(
        "float32 matmul precision",
        torch.get_float32_matmul_precision,
        torch.set_float32_matmul_precision,
    ),
    GlobalSetting("gradient mode", torch.is_grad_enabled, torch.set_grad_enabled),
    GlobalSetting("anomaly detection", torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly),
    GlobalSetting("warning filters", lambda: tuple(warnings.filters)),
    GlobalSetting("root logger", read_logging, put_logging),
    GlobalSetting("working directory", os.getcwd, os.chdir),
    GlobalSetting("environment variables", lambda: dict(os.environ), put_environment),
    GlobalSetting("sys.path", lambda: list(sys.path), put_path),
)


def read_all() -> dict[str, Any]:
    """Every setting by its name."""
    return {setting.name: setting.read() for setting in SETTINGS}


def changes(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """What differs: old and new value where they are short."""
    return [
        f"{name} {_difference(before[name], after[name])}"
        for name in before
        if before[name] != after[name]
    ]


@contextmanager
def preserved() -> Iterator[None]:
    """Restore every setting on leaving, torch's and numpy's random state included."""
    before = read_all()
    state, numpy_state = torch.get_rng_state(), np.random.get_state(legacy=True)
    with warnings.catch_warnings():
        try:
            yield
        finally:
            for setting in SETTINGS:
                if setting.put is not None and setting.read() != before[setting.name]:
                    setting.put(before[setting.name])
            torch.set_rng_state(state)
            np.random.set_state(numpy_state)


@contextmanager
def silence() -> Iterator[None]:
    """Discard what is printed or logged inside."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            yield
    finally:
        logging.disable(before)


def _difference(before: Any, after: Any) -> str:
    if isinstance(before, dict):
        keys = sorted(k for k in {*before, *after} if before.get(k) != after.get(k))
        return f"changed: {', '.join(keys)}"
    old, new = repr(before), repr(after)
    return f"{old} became {new}" if max(len(old), len(new)) <= LONGEST else "changed"
