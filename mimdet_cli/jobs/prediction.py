"""Predict on image files and folders; write drawings and a COCO results file."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mimdet_cli.errors import DataError, RecipeError
from mimdet_cli.evaluation.results import write_predictions
from mimdet_cli.files import make_folder, replacing
from mimdet_cli.jobs.detector import load_detector
from mimdet_cli.progress import QUIET, Progress
from mimdet_cli.words import counted

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
RESULTS = "predictions.json"


@dataclass(frozen=True, slots=True)
class PredictionReport:
    """What `mimdet predict` reports; `failed` maps unreadable files to reasons."""

    out: Path
    images: int
    detections: int
    threshold: float
    files: dict[int, str]
    failed: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        """The report as JSON; `files` maps the `image_id`s of the results file to images."""
        return {
            "out": str(self.out),
            "results": str(self.out / RESULTS),
            "images": self.images,
            "detections": self.detections,
            "threshold": self.threshold,
            "files": {str(image_id): name for image_id, name in self.files.items()},
            "failed": self.failed,
        }

    def lines(self) -> list[str]:
        """The report as text."""
        lines = [
            f"{counted(self.images, 'image')}, {counted(self.detections, 'detection')} "
            f"with score >= {self.threshold:g}",
            f"drawings and {RESULTS}: {self.out}",
        ]
        if self.failed:
            lines.append(f"{counted(len(self.failed), 'file')} could not be read")
        return lines


def predict(
    run: Path,
    inputs: Sequence[Path],
    *,
    out: Path,
    threshold: float,
    device: str | None,
    progress: Progress = QUIET,
) -> PredictionReport:
    """Predict with a run's checkpoint on files and folders of images.

    Unreadable files are reported and skipped. Image ids number the files from 1, in order.
    """
    files = list(_files(inputs))
    _refuse_input_folder(out, [*inputs, *(file.parent for file in files)])
    detector = load_detector(run, device=device)
    checkpoint = detector.checkpoint
    progress.say(f"checkpoint {checkpoint.folder} (step {checkpoint.step})")
    make_folder(out, "the output folder")
    entries: list[dict[str, Any]] = []
    count, read, failed = 0, dict[int, str](), dict[str, str]()
    with progress.items(len(files), "predicting") as done:
        for image_id, (file, drawing) in enumerate(
            zip(files, _drawing_names(files), strict=True), 1
        ):
            try:
                prediction = detector.predict(file, score=0.0)
            except DataError as error:
                failed[str(file)] = error.what
                progress.warn(f"{file}: {error.what}")
            else:
                shown = prediction.above(threshold)
                with replacing(out / drawing) as partial:
                    shown.draw().save(partial, format="PNG")
                entries += prediction.to_coco(image_id)
                count += len(shown)
                read[image_id] = str(file)
            done.advance()
    if not read:
        raise DataError(
            "none of the files could be read.",
            where=", ".join(failed),
            fix="give JPEG, PNG, BMP, WebP or TIFF images.",
        )
    write_predictions(entries, out / RESULTS)
    return PredictionReport(out, len(read), count, threshold, read, failed)


def _files(inputs: Sequence[Path]) -> Iterator[Path]:
    """The given files, and the images directly in the given folders, sorted."""
    missing = [path for path in inputs if not path.exists()]
    if missing:
        raise DataError.joined(
            [DataError(f"{path} does not exist.", fix="correct the path.") for path in missing]
        )
    for path in inputs:
        if path.is_dir():
            inside = sorted(p for p in path.iterdir() if p.suffix.lower() in SUFFIXES)
            if not inside:
                raise DataError(
                    "the folder contains no images.",
                    where=str(path),
                    fix=f"give a folder of images, with the suffix {', '.join(SUFFIXES)}.",
                )
            yield from inside
        else:
            yield path


def _refuse_input_folder(out: Path, folders: Sequence[Path]) -> None:
    """Drawings never go where the images are: they would replace some, or be read as images."""
    if out.exists() and any(folder.is_dir() and folder.samefile(out) for folder in folders):
        raise RecipeError(
            "--out is a folder of the images; drawings could overwrite them.",
            where=str(out),
            fix="give another folder.",
        )


def _drawing_names(files: Sequence[Path]) -> list[str]:
    """A PNG name for each file, all different even where case does not count.

    Equal stems are numbered by the position of their files, and further where that is taken.
    """
    stems = [file.stem for file in files]
    counts = Counter(stem.casefold() for stem in stems)
    taken = {stem for stem, count in counts.items() if count == 1}
    names = []
    for position, stem in enumerate(stems, 1):
        name, number = stem, position
        while counts[stem.casefold()] > 1 and (name == stem or name.casefold() in taken):
            name, number = f"{stem}-{number}", number + 1
        taken.add(name.casefold())
        names.append(f"{name}.png")
    return names
