"""xkd-distill sweep."""

from __future__ import annotations

from pathlib import Path

import typer

from distill.cli import options as o

EXAMPLES = r"""[b]sweep.yaml[/b]

recipes: ["{method}/cifar100/{pair}", "teacher/cifar100/resnet56"]

grid: {method: \[kd, exp-kd], pair: \[resnet56-resnet20]}

seeds: [0, 1, 2]

data: cifar100/

set: \[epochs=60]

[b]Examples[/b]

xkd-distill sweep sweep.yaml

xkd-distill sweep sweep.yaml --jobs 4 -o runs/pairs

xkd-distill sweep sweep.yaml --seeds 0 --set epochs=1 -o runs/trial"""


def sweep(
    file: o.Sweep,
    data: o.Data = None,
    overrides: o.Overrides = None,
    seeds: o.SweepSeeds = None,
    output: o.SweepOutput = None,
    jobs: o.Jobs = 1,
    device: o.Device = "auto",
    capture: o.Capture = False,
) -> None:
    """Pairs x methods x seeds; finished runs are kept, unfinished ones continued."""
    from distill.cli.output import print_sweep
    from distill.cli.progress import sweep_bar
    from distill.runs.sweep import plan_sweep, run_sweep
    from distill.runs.sweep_file import SweepChanges, read_sweep

    directory = output or Path("runs") / file.stem
    changes = SweepChanges(data=data, seeds=o.seed_numbers(seeds), overrides=tuple(overrides or ()))
    planned = plan_sweep(read_sweep(file), directory, changes)
    with sweep_bar() as progress:
        result = run_sweep(planned, directory, jobs, device=device, capture=capture, progress=progress)
    print_sweep(result, directory)
    if result.failed:
        raise typer.Exit(2)
