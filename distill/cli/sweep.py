"""xkd-distill sweep."""

from __future__ import annotations

from pathlib import Path

import typer

from distill.cli import options as o

EXAMPLES = r"""[b]sweep.yaml[/b]

recipes: ["{method}/cifar100/{pair}", "teacher/cifar100/resnet56"]

grid: {method: \[kd, dkd], pair: \[resnet56-resnet20], losses.kd.weight: \[0.5, 0.9]}

seeds: \[0, 1, 2]

data: cifar100/

set: \[epochs=60]

[b]Its keys[/b]

A key of grid that stands in a recipe's name fills it; another is the recipes'.

Each combination is a run, in a directory that says it.

Also stages, variants, teacher, teacher_weights, teacher_engine, val_split, precision, imports.

[b]What wins[/b]

Recipe < the file's keys < its set < grid < variants < options < --set.

[b]Examples[/b]

xkd-distill sweep sweep.yaml

xkd-distill sweep sweep.yaml --jobs 4 -o runs/pairs

xkd-distill sweep sweep.yaml --runs runs --teacher resnet56.pt --import mine.py

xkd-distill sweep sweep.yaml --seeds 0 --set epochs=1 -o runs/trial"""


def sweep(
    file: o.Sweep,
    data: o.Data = None,
    teacher: o.Teacher = None,
    teacher_weights: o.TeacherWeights = None,
    teacher_engine: o.TeacherEngine = None,
    overrides: o.Overrides = None,
    imports: o.Imports = None,
    seeds: o.SweepSeeds = None,
    test_split: o.TestSplit = None,
    val_split: o.ValSplit = None,
    select_on_test: o.SelectOnTest = False,
    output: o.SweepOutput = None,
    runs: o.SweepRuns = Path("runs"),
    jobs: o.Jobs = 1,
    together: o.Together = None,
    device: o.Device = "auto",
    capture: o.Capture = False,
    force: o.Force = False,
    precision: o.Precision = None,
) -> None:
    """Recipes x settings x seeds; finished runs are kept, unfinished ones continued."""
    from distill.cli.output import print_sweep
    from distill.cli.progress import sweep_progress
    from distill.runs.sweep import run_sweep
    from distill.runs.sweep_file import SweepChanges, read_sweep
    from distill.runs.sweep_plan import plan_sweep

    directory = output or Path("runs") / file.stem
    changes = SweepChanges(
        data=data,
        teacher=teacher,
        teacher_weights=teacher_weights,
        teacher_engine=teacher_engine,
        test_split=test_split,
        val_split=val_split,
        select_on_test=select_on_test,
        precision=None if precision is None else precision.value,
        imports=tuple(imports or ()),
        overrides=tuple(overrides or ()),
        seeds=o.seed_numbers(seeds),
    )
    planned = plan_sweep(read_sweep(file), directory, changes, runs)
    with sweep_progress() as progress:
        result = run_sweep(
            planned,
            directory,
            jobs,
            together=together,
            device=device,
            capture=capture,
            force=force,
            progress=progress,
        )
    print_sweep(result, directory)
    if result.failed:
        raise typer.Exit(2)
