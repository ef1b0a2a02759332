"""A plan and its outcome as tables and JSON."""

from typing import Any

from mimdet_cli.ablation.layout import CELL, read_record, run_folder
from mimdet_cli.ablation.plan.cost import Cost
from mimdet_cli.ablation.plan.plan import Plan, Run
from mimdet_cli.ablation.run.claiming import is_done
from mimdet_cli.ablation.run.processes import Outcome
from mimdet_cli.text_table import text_table
from mimdet_cli.words import counted


def plan_lines(plan: Plan, cost: Cost) -> list[str]:
    """The rows of the table with their runs, and what is to do."""
    states = {run.hash: _state(plan, run) for run in plan.runs}
    trainings: dict[str, list[str]] = {}
    for cell in plan.cells:
        for name in cell.runs.values():
            users = trainings.setdefault(name, [])
            users += [cell.training] if cell.training not in users else []
    rows = []
    for cell in plan.cells:
        seen = [states[name] for name in cell.runs.values()]
        others = dict.fromkeys(
            label
            for name in cell.runs.values()
            for label in trainings[name]
            if label != cell.training
        )
        summary = ", ".join(f"{seen.count(state)} {state}" for state in dict.fromkeys(seen))
        rows.append([cell.label, summary, " ".join(cell.runs.values()), ", ".join(others) or "-"])
    done = sum(state == "done" for state in states.values())
    seeds = ", ".join(str(seed) for seed in plan.cells[0].runs)
    return [
        f"{plan.source.name}: {plan.source.ablation.question}",
        f"base {plan.base}, data {plan.data or 'not found'}, seeds {seeds}",
        "",
        *text_table(["cell", "runs", "folders in runs/", "the same training as"], rows).split("\n"),
        "",
        *(f"left out: {label} ({reason})" for label, reason in plan.left_out.items()),
        f"{counted(len(plan.cells), 'cell')}, {counted(len(plan.runs), 'run')}: "
        f"{done} done, {len(plan.runs) - done} to do",
        cost.line(),
    ]


def plan_json(plan: Plan, cost: Cost) -> dict[str, Any]:
    """The same as a record."""
    return {
        "name": plan.source.name,
        "question": plan.source.ablation.question,
        "base": plan.base,
        "data": plan.data,
        "cells": [
            {
                "label": cell.label,
                "training": cell.training,
                "evaluation": cell.evaluation or None,
                "settings": dict(cell.scoring.settings),
                "evals": cell.scoring.evals,
                "runs": {str(seed): name for seed, name in cell.runs.items()},
            }
            for cell in plan.cells
        ],
        "runs": [
            {
                "hash": run.hash,
                "training": run.label,
                "seed": run.seed,
                "parent": run.parent,
                "state": _state(plan, run),
            }
            for run in plan.runs
        ],
        "left_out": dict(plan.left_out),
        "cost": cost.to_json(),
    }


def outcome_lines(plan: Plan, outcome: Outcome) -> list[str]:
    """What is not done, by name."""
    titles = {run.hash: run.title for run in plan.runs}
    return [
        *(f"failed: {titles[name]}: {reason}" for name, reason in outcome.failed.items()),
        *(f"not run: {titles[name]}: {who}" for name, who in outcome.busy.items()),
    ]


def _state(plan: Plan, run: Run) -> str:
    if is_done(plan.request.out, run):
        return "done"
    record = read_record(run_folder(plan.request.out, run.hash) / CELL)
    return "failed" if record.get("status") == "failed" else "to do"
