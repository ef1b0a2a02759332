"""Write a run's weights for other programs: one safetensors file, our names or detectron2's."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from mimdet_cli import __version__
from mimdet_cli.engine.checkpoint import MODEL
from mimdet_cli.errors import RecipeError
from mimdet_cli.jobs.run_folder import Checkpoint, open_checkpoint, sidecar_files
from mimdet_cli.progress import QUIET, Progress
from mimdet_cli.weights.write import detectron2_names, write_safetensors

SUFFIX = ".safetensors"
Target = Literal["detectron2", "safetensors"]


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What `mimdet convert RUN --to FORMAT` shows."""

    checkpoint: Path
    step: int
    file: Path
    to: Target
    tensors: int

    def to_json(self) -> dict[str, Any]:
        """The report."""
        return {
            "checkpoint": str(self.checkpoint),
            "step": self.step,
            "file": str(self.file),
            "to": self.to,
            "tensors": self.tensors,
            "load": self._load(),
        }

    def lines(self) -> list[str]:
        """Lines for the terminal."""
        names = "detectron2's" if self.to == "detectron2" else "mimdet's"
        return [
            f"wrote {self.file}: {self.tensors} tensors under {names} names, "
            "with recipe and classes in the header",
            f"load: {self._load()}",
        ]

    def _load(self) -> str:
        """One line of Python that fills a model."""
        load = f'safetensors.torch.load_file("{self.file}")'
        if self.to == "detectron2":
            return f"print(model.load_state_dict({load}, strict=False))"
        return f"model.load_state_dict({load})"


def export(run: Path, *, to: Target, out: Path, progress: Progress = QUIET) -> ExportReport:
    """Write the checkpoint of `run` to the file `out`."""
    _refuse_name(out)
    checkpoint = open_checkpoint(run)
    progress.say(f"checkpoint {checkpoint.folder} (step {checkpoint.step})")
    detector = checkpoint.detector(torch.device("cpu"))
    tensors = detector.state_dict()
    if to == "detectron2":
        if checkpoint.recipe.head.rules != "detectron2":
            progress.warn(
                f"the model follows {checkpoint.recipe.head.rules}'s rules (head.rules); "
                "detectron2 limits boxes differently, so detections may differ."
            )
        names = detectron2_names(tensors, detector.backbone.key_maps)
        tensors = {names[key]: tensor for key, tensor in tensors.items()}
    write_safetensors(out, tensors, _metadata(checkpoint, to))
    return ExportReport(checkpoint.folder, checkpoint.step, out, to, len(tensors))


def _metadata(checkpoint: Checkpoint, to: Target) -> dict[str, str]:
    """The header, which makes the file readable on its own; all values are text."""
    manifest = {"step": checkpoint.step, "file": f"{checkpoint.folder.name}/{MODEL}"}
    return {
        "format": "pt",
        "names": to if to == "detectron2" else "mimdet",
        "mimdet": __version__,
        "checkpoint": json.dumps(manifest),
        **sidecar_files(checkpoint.recipe, checkpoint.categories),
    }


def _refuse_name(out: Path) -> None:
    if out.suffix != SUFFIX:
        raise RecipeError(
            f"'{out.name}' does not end in {SUFFIX}; pickles are not written.",
            where="--out",
            fix=f"for example --out {out.with_suffix(SUFFIX)}.",
        )
    if out.exists():
        raise RecipeError(
            "the file already exists.", where=str(out), fix="remove it, or choose another --out."
        )
