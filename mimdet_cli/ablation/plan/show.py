"""A plan as lines for a person and as JSON."""

from typing import Any

from mimdet_cli.ablation.plan.cost import PlanCost
from mimdet_cli.ablation.plan.make import Cell, Plan, Run
from mimdet_cli.text_table import text_table
from mimdet_cli.words import counted


def plan_lines(plan: Plan, cost: PlanCost) -> list[str]:
    """The rows of the table with their runs, and what is left to do."""
    states = {run.hash: _state(plan, run) for run in plan.runs}
    rows = []
    for cell in plan.cells:
        seen = [states[name] for name in cell.runs.values()]
        state = ", ".join(f"{seen.count(state)} {state}" for state in dict.fromkeys(seen))
        rows.append([cell.label, state, " ".join(cell.runs.values()), _equal(plan, cell) or "-"])
    done = sum(state == "done" for state in states.values())
    seeds = ", ".join(str(seed) for seed in plan.cells[0].runs)
    return [
        f"{plan.definition.name}: {plan.definition.ablation.question}",
        f"base {plan.base}, data {plan.data or 'not found'}, seeds {seeds}",
        "",
        *text_table(["cell", "runs", "folders in runs/", "same training as"], rows).split("\n"),
        "",
        *(f"left out: {label} ({reason})" for label, reason in plan.left_out.items()),
        f"{counted(len(plan.cells), 'cell')}, {counted(len(plan.runs), 'run')}: "
        f"{done} done, {len(plan.runs) - done} to do",
        cost.line(),
    ]


def plan_json(plan: Plan, cost: PlanCost) -> dict[str, Any]:
    """The same as a record."""
    return {
        "name": plan.definition.name,
        "question": plan.definition.ablation.question,
        "base": plan.base,
        "data": plan.data,
        "cells": [_cell_json(cell) for cell in plan.cells],
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


def _cell_json(cell: Cell) -> dict[str, Any]:
    """The row without the hash of its evaluation, which names a folder only."""
    row = cell.to_json() | {"evaluation": cell.evaluation or None}
    del row["key"]
    return row


def _equal(plan: Plan, cell: Cell) -> str:
    """The other trainings whose runs the cell shares."""
    others = dict.fromkeys(
        other.training
        for name in cell.runs.values()
        for other in plan.cells
        if name in other.runs.values() and other.training != cell.training
    )
    return ", ".join(others)


def _state(plan: Plan, run: Run) -> str:
    if plan.is_done(run):
        return "done"
    return "failed" if plan.record(run).get("status") == "failed" else "to do"
