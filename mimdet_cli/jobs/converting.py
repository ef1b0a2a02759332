"""Turn a released detector into a run that `eval`, `predict` and fine-tuning accept."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from backbones.key_maps.rename import KeyMap, rename
from heads.key_maps import HEADS
from heads.mask_rcnn import MaskRCNN
from mimdet_cli.build import build_detector, build_state, complete
from mimdet_cli.engine.checkpoint import save_weights
from mimdet_cli.errors import RecipeError, ResourceError, WeightsError
from mimdet_cli.files import sha256, whole_folder, write_text
from mimdet_cli.jobs.class_names import COCO, name_classes
from mimdet_cli.jobs.readme import Conversion, write_conversion_readme
from mimdet_cli.jobs.run_folder import ENVIRONMENT, METRICS, sidecar_files, start
from mimdet_cli.progress import QUIET, Progress
from mimdet_cli.recipe.load import ResolvedRecipe
from mimdet_cli.recipe.schema import CompletedRecipe
from mimdet_cli.reporting.environment import environment
from mimdet_cli.weights.load import LoadReport, load_weights
from mimdet_cli.weights.read import read_tensors
from mimdet_cli.weights.write import whole_detector_maps

CLASS_SCORES = (
    "roi_heads.box_predictor.scores.weight",
    "roi_heads.box_predictor.0.scores.weight",
)
"""The predictor's weight, of one stage or of a cascade's first."""
CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True)
class Released:
    """A released file: its key layout, and the files that name its classes, if any."""

    file: Path
    layout: str | None = None
    names: Path | None = None
    annotations: Path | None = None


@dataclass(frozen=True, slots=True)
class ConversionReport:
    """What `mimdet convert RELEASED` shows."""

    run: Path
    conversion: Conversion

    def to_json(self) -> dict[str, Any]:
        """The report; `share` is the share of the model's parameters that the file filled."""
        conversion = self.conversion
        return {
            "run": str(self.run),
            "file": conversion.file,
            "sha256": conversion.sha256,
            "format": conversion.layout,
            "classes": len(conversion.categories),
            "class_names": conversion.named,
            "tensors": len(conversion.report.loaded),
            "parameters": conversion.report.loaded_parameters,
            "share": conversion.report.share,
        }

    def lines(self) -> list[str]:
        """Lines for the terminal."""
        return [
            f"{self.conversion.file}: {len(self.conversion.report.loaded)} tensors, "
            f"{self.conversion.report.loaded_parameters:,} parameters",
            f"run folder: {self.run}",
        ]


def convert(
    resolved: ResolvedRecipe, released: Released, *, out: Path, progress: Progress = QUIET
) -> ConversionReport:
    """Fill the recipe's detector with a released file and write it as the run `out`."""
    refuse_used(out)
    refuse_bare_pickle(released.file)
    recipe = complete(resolved).recipe
    detector = build_detector(recipe, COCO)
    maps = detector.backbone.key_maps
    layout = _layout(maps, released.layout, recipe.backbone.name, progress)
    key_map = maps[layout]
    tensors = read_tensors(released.file, key_map.unwrap)
    number = _classes_of(tensors, key_map, released.file)
    categories, named = name_classes(number, released.names, released.annotations)
    if number != COCO:  # releases trained on COCO are built once
        detector = build_detector(recipe, number)
    report = load_weights(detector, key_map, released.file, layout, recipe.init.allow_missing)
    digest = sha256(released.file)
    notes = _notes(tensors, recipe, number, named)
    for line in [*report.lines(), notes[0]]:
        progress.say(line)
    for line in notes[1:]:
        progress.warn(line)
    conversion = Conversion(
        released.file.name, digest, layout, categories, named, report, tuple(notes)
    )
    _write(out, recipe, detector, conversion)
    return ConversionReport(out, conversion)


def refuse_used(out: Path) -> None:
    """The run folder must be empty or absent, and its parent must be writable."""
    if out.exists() and not out.is_dir():
        raise RecipeError("the run folder is a file.", where=str(out), fix="choose another --out.")
    if out.is_dir() and any(out.iterdir()):
        raise RecipeError(
            "the run folder is not empty.", where=str(out), fix="choose another --out."
        )
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ResourceError(
            f"the run folder cannot be created: {error.strerror}.",
            where=str(out),
            fix="choose another --out.",
        ) from error


def refuse_bare_pickle(file: Path) -> None:
    """Detectron2's `.pkl` files are pickled arrays, which only an unsafe reader opens."""
    if not file.is_file():
        raise WeightsError(f"{file} does not exist.", where=str(file), fix="correct the path.")
    if file.suffix != ".pkl":
        return
    name = f"{file.stem}.safetensors"
    raise WeightsError(
        "a .pkl file is a bare pickle: opening it can run code, so mimdet refuses it.",
        where=str(file),
        fix="if you trust its source, unpack it yourself and convert the result: "
        'python -c "import pickle, sys, numpy, safetensors.numpy as s; '
        "m = pickle.load(open(sys.argv[1], 'rb'))['model']; "
        's.save_file({k: numpy.ascontiguousarray(v) for k, v in m.items()}, sys.argv[2])" '
        f"{file} {name}",
    )


def _layout(
    maps: Mapping[str, KeyMap], named: str | None, backbone: str, progress: Progress
) -> str:
    """The format of the file: as given, or the only one for detectors with this backbone."""
    whole = list(whole_detector_maps(maps))
    if named in whole:
        return str(named)
    known = ", ".join(whole) or "none"
    if named is not None:
        alone = named in maps
        what = "hold a backbone alone" if alone else f"cannot be read by '{backbone}'"
        raise RecipeError(
            f"'{named}' files {what}.",
            where="--format",
            fix=f"formats of whole detectors: {known}."
            + (f" To train from the file: `--set init.format={named}`." if alone else ""),
        )
    if len(whole) == 1:
        progress.say(f"format: {whole[0]}, the only whole-detector format that '{backbone}' reads")
        return whole[0]
    raise RecipeError(
        f"the backbone '{backbone}', with this recipe's options, reads "
        + ("several formats of whole detectors." if whole else "no format of whole detectors."),
        where="--recipe",
        fix=f"choose one with --format: {known}." if whole else "use the recipe of the release.",
    )


def _classes_of(tensors: Mapping[str, Tensor], key_map: KeyMap, file: Path) -> int:
    """The number of classes: the rows of the class scores without the background's."""
    head = rename(tensors, KeyMap(HEADS[key_map.head or ""])).kept
    for key, tensor in head.items():
        if key in CLASS_SCORES and tensor.ndim == 2 and len(tensor) >= 2:
            return len(tensor) - 1
    raise WeightsError(
        f"the file has no class scores in {key_map.head}'s layout.",
        where=str(file),
        fix="use the file of a whole detector; to train from a backbone's weights, set "
        "`init.weights`.",
    )


def _notes(
    tensors: Mapping[str, Tensor], recipe: CompletedRecipe, number: int, named: str
) -> list[str]:
    """The classes, and where the file's pixel statistics differ from the recipe's."""
    notes = [f"classes: {number}, {named}"]
    for key in ("pixel_mean", "pixel_std"):
        ours = torch.tensor(getattr(recipe.data, key))
        if key not in tensors or tensors[key].numel() != 3:
            continue
        theirs = tensors[key].flatten().float()
        if not torch.allclose(theirs, ours, atol=0.01):
            values = ",".join(f"{value:g}" for value in theirs.tolist())
            notes.append(
                f"the file was trained with {key} [{values}], the recipe has "
                f"{ours.tolist()}; convert it again with `--set data.{key}=[{values}]`."
            )
    return notes


def _write(out: Path, recipe: CompletedRecipe, detector: MaskRCNN, conversion: Conversion) -> None:
    """Write the run folder, whole or not at all."""
    origin = {"file": conversion.file, "sha256": conversion.sha256, "format": conversion.layout}
    record = _record(conversion.report, conversion.sha256, conversion.notes)
    with whole_folder(out) as run:
        start(run, recipe, [record])
        files = sidecar_files(recipe, conversion.categories)
        save_weights(
            run / "last", build_state(recipe, detector, CPU), files, {"converted_from": origin}
        )
        write_text(run / METRICS, "")
        write_text(run / ENVIRONMENT, json.dumps(environment(), indent=1) + "\n")
        write_conversion_readme(run, recipe, conversion)


def _record(report: LoadReport, digest: str, notes: Sequence[str]) -> dict[str, Any]:
    lines = [*report.lines(), *notes]
    return {**report.to_json(), "sha256": digest, "lines": lines, "licence": None}
