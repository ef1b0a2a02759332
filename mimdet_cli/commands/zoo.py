"""`mimdet zoo`: the shipped recipes with their published AP."""

import json
from dataclasses import asdict

from mimdet_cli.commands.options import JsonOption, examples
from mimdet_cli.console import Console
from mimdet_cli.recipe.zoo import entries
from mimdet_cli.weights import catalog

EPILOG = examples("mimdet zoo", "mimdet zoo --json")
HEADER = ("recipe", "backbone", "size", "box AP", "mask AP", "weights", "licence", "source")


def zoo(as_json: JsonOption = False) -> None:
    """List the shipped recipes with their AP, weights and licences.

    AP is the published one, the licence that of the weights.
    """
    known = catalog.entries()
    records = [
        {**asdict(entry), "licence": known[entry.weights].licence if entry.weights else None}
        for entry in entries()
    ]
    console = Console()
    if as_json:
        console.result(json.dumps(records, indent=2, ensure_ascii=False))
        return
    keys = [word.replace(" ", "_").lower() for word in HEADER]
    console.table(HEADER, [[_shown(record[key]) for key in keys] for record in records])


def _shown(value: object) -> str:
    return "-" if value is None else str(value)
