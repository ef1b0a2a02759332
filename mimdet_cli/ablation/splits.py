"""The recipe of a run as it was trained, and the val split that it was scored on."""

from functools import cache
from pathlib import Path

from mimdet_cli.ablation import own_data
from mimdet_cli.ablation.differs import Split
from mimdet_cli.ablation.layout import LAST, run_folder
from mimdet_cli.ablation.records import AblationRecord
from mimdet_cli.data.coco.reader import read_ground_truth
from mimdet_cli.data.coco.split import find_data
from mimdet_cli.recipe.load import ResolvedRecipe, load_recipe

RECIPE = "recipe.yaml"


@cache
def recipe_of(out: Path, name: str) -> ResolvedRecipe:
    """The completed recipe of a trained run."""
    return load_recipe(run_folder(out, name) / LAST / RECIPE)


def split_of(out: Path, record: AblationRecord, name: str, data: Path | None) -> Split:
    """The val split of a run, in `data` if that is given."""
    section = recipe_of(out, name).recipe.data
    if data is None and record.data == own_data.IDENTITY:
        data = own_data.folder_in(out)
    if data is not None:
        section = section.model_copy(update={"root": str(data)})
    found, _ = find_data(section, "val")
    root = Path(section.root).expanduser() if section.root else found.parent
    return _split(found, root.name)


@cache
def _split(annotations: Path, name: str) -> Split:
    content = read_ground_truth(annotations)
    return Split(annotations, name, len(content["images"]), len(content["categories"]))
