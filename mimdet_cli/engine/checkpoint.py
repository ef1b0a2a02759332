"""Checkpoints: folders of safetensors that are valid only with their manifest.

    step-N/   model.safetensors, optimizer.safetensors, recipe.yaml, classes.json, manifest.json
    last/     the newest of them without the optimizer; best/ likewise, by box AP

The manifest of a step also has those values of the optimizer's state that are not tensors, and the
names of the learning parameters without state. A folder is filled under another name, then renamed,
and its manifest lists every file with its size, so a checkpoint that exists is whole.
"""

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from mimdet_cli.engine.optimizer_state import OptimizerState, collect, put_back
from mimdet_cli.engine.state import TrainState
from mimdet_cli.errors import WeightsError
from mimdet_cli.files import link_or_copy, sha256, whole_folder, write_text

MANIFEST = "manifest.json"
MODEL = "model.safetensors"
OPTIMIZER = "optimizer.safetensors"


def save_step(run: Path, state: TrainState, sidecar_files: Mapping[str, str], *, keep: int) -> Path:
    """Write `run/step-N` and `run/last`, then remove all but the newest `keep` steps.

    `sidecar_files` are text files by name that make a checkpoint readable on its own.
    """
    folder = run / f"step-{state.step}"
    with whole_folder(folder) as partial:
        _write_model(partial, state, sidecar_files)
        kept = collect(state.model, state.optimizer)
        save_file(dict(kept.tensors), partial / OPTIMIZER)
        manifest = {
            "step": state.step,
            "scaler": state.scaler.state_dict(),
            "optimizer": {"values": kept.values, "without_state": kept.without_state},
        }
        _seal(partial, manifest)
    with whole_folder(run / "last") as partial:
        for name in (MODEL, *sidecar_files):
            link_or_copy(folder / name, partial / name)
        _seal(partial, {"step": state.step})
    for old in steps(run)[:-keep]:
        shutil.rmtree(run / f"step-{old}")
    return folder


def save_weights(
    folder: Path, state: TrainState, sidecar_files: Mapping[str, str], facts: Mapping[str, Any]
) -> None:
    """Write the model without its optimizer (`best/`); `facts` go into the manifest."""
    with whole_folder(folder) as partial:
        _write_model(partial, state, sidecar_files)
        _seal(partial, {"step": state.step, **facts})


def steps(run: Path) -> list[int]:
    """Steps of the whole checkpoints in `run`, ascending."""
    found = (re.fullmatch(r"step-(\d+)", p.name) for p in run.glob("step-*"))
    return sorted(int(m.group(1)) for m in found if m and is_whole(run / m.group(0)))


def is_whole(folder: Path) -> bool:
    """Whether the manifest is there and every file it lists has its size."""
    try:
        files = read_manifest(folder)["files"]
    except (WeightsError, KeyError, TypeError):
        return False
    sizes = {p.name: p.stat().st_size for p in folder.iterdir()}
    return all(sizes.get(name) == entry["bytes"] for name, entry in files.items())


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a checkpoint folder."""
    path = folder / MANIFEST
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:  # ValueError: no JSON, or no text at all
        raise WeightsError(
            f"no readable {MANIFEST}: this is not a whole checkpoint.",
            where=str(path),
            fix="name a run folder, or its last/, best/ or step-N/.",
        ) from error


def restore(state: TrainState, folder: Path) -> None:
    """Restore `state` from `folder`, a complete step-N."""
    manifest = read_manifest(folder)
    try:
        state.model.load_state_dict(load_file(folder / MODEL))
        kept = OptimizerState(load_file(folder / OPTIMIZER), **manifest.get("optimizer", {}))
    except (SafetensorError, RuntimeError) as error:
        raise WeightsError(
            f"the checkpoint does not fit this recipe: {str(error).splitlines()[0]}",
            where=str(folder),
            fix="resume with the recipe the run was started with.",
        ) from error
    put_back(state.model, state.optimizer, kept, folder)
    state.scaler.load_state_dict(manifest["scaler"])
    state.step = manifest["step"]


def _write_model(folder: Path, state: TrainState, sidecar_files: Mapping[str, str]) -> None:
    model = {key: tensor.contiguous() for key, tensor in state.model.state_dict().items()}
    save_file(model, folder / MODEL)
    for name, text in sidecar_files.items():
        write_text(folder / name, text)


def _seal(folder: Path, manifest: Mapping[str, Any]) -> None:
    files = {
        p.name: {"bytes": p.stat().st_size, "sha256": sha256(p)}
        for p in sorted(folder.iterdir())
        if p.name != MANIFEST
    }
    write_text(folder / MANIFEST, json.dumps({**manifest, "files": files}, indent=1) + "\n")
