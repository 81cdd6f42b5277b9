"""xkd-distill train."""

from __future__ import annotations

from pathlib import Path

from distill.cli import options as o

EXAMPLES = """[b]Examples[/b]

xkd-distill train quickstart

xkd-distill train exp-kd/cifar100/resnet56-resnet20 --data cifar100/ --set epochs=60

xkd-distill train exp-kd/cifar100/resnet56-resnet20 --data cifar100/ --teacher resnet56.pt --seeds 0,1,2

xkd-distill train exp-kd/imagenet/resnet34-resnet18 --data imagenet/ --devices 4 --precision bf16

xkd-distill train mine.yaml:wide --import mine.py --set losses.exp_kd.weight=2000 --set optimiser.learning_rate=0.01

xkd-distill train mine.yaml --val-split 0.1 --set data.loader=workers --resume

[b]What wins[/b]

Recipe < options < --set, a later --set over an earlier one; mappings are merged.

Under another data.loader, optimiser.name or schedule.name, what the new reads stays.

xkd-distill recipes NAME --set ... prints what comes of it."""


def train(
    names: o.Recipes,
    data: o.Data = None,
    teacher: o.Teacher = None,
    teacher_weights: o.TeacherWeights = None,
    teacher_engine: o.TeacherEngine = None,
    overrides: o.Overrides = None,
    imports: o.Imports = None,
    seeds: o.Seeds = None,
    test_split: o.TestSplit = None,
    val_split: o.ValSplit = None,
    select_on_test: o.SelectOnTest = False,
    output: o.Output = None,
    runs: o.Runs = Path("runs"),
    resume: o.Resume = False,
    overwrite: o.Overwrite = False,
    device: o.Device = "auto",
    capture: o.Capture = False,
    force: o.Force = False,
    precision: o.Precision = None,
    compile: o.Compile = False,
    devices: o.Devices = 1,
    nodes: o.Nodes = 1,
) -> None:
    """Train students, or teachers."""
    from distill.runs.changes import RecipeChanges
    from distill.runs.job import TrainingJob
    from distill.runs.launch import launch
    from distill.runs.plan import plan_runs
    from xkd_eval.launch import is_launched

    changes = RecipeChanges(
        data=data,
        teacher=teacher,
        teacher_weights=teacher_weights,
        teacher_engine=teacher_engine,
        test_split=test_split,
        val_split=val_split,
        select_on_test=select_on_test,
        precision=None if precision is None else precision.value,
        compile=compile,
        imports=tuple(imports or ()),
        overrides=tuple(overrides or ()),
    )
    planned = plan_runs(names, changes, runs, seeds=o.seed_numbers(seeds), output=output)
    jobs = [
        TrainingJob(run.name, run.recipe, run.directory, runs, device, resume, overwrite, capture, force)
        for run in planned
    ]
    if devices * nodes > 1 and not is_launched():
        from distill.runs.tables import finished

        launch(jobs, devices, nodes)
        outcomes = finished((job.name, job.directory) for job in jobs)
    else:
        from distill.cli.job import make

        outcomes = make(jobs)

    from distill.cli.output import print_outcomes

    print_outcomes(outcomes, [job.directory for job in jobs])
