"""xkd-distill: one thin function a command. Commands parse and print; what they do is imported when it is needed."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from distill.cli import options as o
from distill.training.interruption import TrainingInterruptedError
from xkd_eval.cli.options import PrecisionChoice
from xkd_eval.errors import XkdError

app = typer.Typer(
    name="xkd-distill",
    help="Train small classifiers on what larger ones know: Exp-KD, and the methods that it is compared with.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_TRAIN_EXAMPLES = """[b]Examples[/b]

xkd-distill train quickstart

xkd-distill train exp-kd/cifar100/resnet56-resnet20 --data cifar100/ --set epochs=60

xkd-distill train exp-kd/cifar100/resnet56-resnet20 --data cifar100/ --teacher resnet56.pt --seeds 0,1,2

xkd-distill train exp-kd/imagenet/resnet34-resnet18 --data imagenet/ --devices 4 --precision bf16

xkd-distill train mine.yaml --set losses.exp_kd.weight=2000 --resume"""

_EVALUATE_EXAMPLES = """[b]Examples[/b]

xkd-distill evaluate student.pt --data cifar100/

xkd-distill evaluate kd.pt exp_kd.pt --teacher resnet56.pt --data cifar100/ -o scores.json"""

_SWEEP_EXAMPLES = """[b]sweep.yaml[/b]

recipes: ["{method}/cifar100/{pair}", "teacher/cifar100/resnet56"]

grid: {method: [kd, exp-kd], pair: [resnet56-resnet20]}

seeds: [0, 1, 2]

data: cifar100/

set: [epochs=60]

[b]Examples[/b]

xkd-distill sweep sweep.yaml

xkd-distill sweep sweep.yaml --jobs 4 -o runs/pairs

xkd-distill sweep sweep.yaml --seeds 0 --set epochs=1 -o runs/trial"""

_EXPORT_EXAMPLES = """[b]Examples[/b]

xkd-distill export student.pt -o student.onnx

xkd-distill export student.pt -o student.safetensors"""


@app.command()
def recipes(
    name: Annotated[str | None, typer.Argument(help="Print this recipe as it resolves.", show_default=False)] = None,
    overrides: o.Overrides = None,
    methods: Annotated[bool, typer.Option("--methods", help="The losses, their papers and options instead.")] = False,
) -> None:
    """What there is to train."""
    from distill.cli.output import console, print_methods, print_recipes
    from distill.recipe.files import expand, load_recipe, recipe_text, shipped_files

    if methods:
        print_methods()
    elif name is None:
        print_recipes(shipped_files())
    else:
        for recipe in expand(name):
            console.print(
                f"# {recipe}\n{recipe_text(load_recipe(recipe, overrides or []))}", highlight=False, markup=False
            )


@app.command(epilog=_TRAIN_EXAMPLES)
def train(
    names: Annotated[list[str], typer.Argument(help="Recipes, or files of recipes for all of their rows.")],
    data: o.Data = None,
    teacher: o.Teacher = None,
    teacher_weights: o.TeacherWeights = None,
    overrides: o.Overrides = None,
    seeds: Annotated[str | None, typer.Option(help="One run each: 0,1,2.", rich_help_panel=o.WHAT)] = None,
    val_split: Annotated[
        float | None,
        typer.Option(help="Share of the training images held out to select the epoch.", rich_help_panel=o.WHAT),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The run's directory; by default RUNS/RECIPE.", rich_help_panel=o.HOW),
    ] = None,
    runs: Annotated[
        Path, typer.Option(help="Where runs lie, the teachers of other recipes too.", rich_help_panel=o.HOW)
    ] = Path("runs"),
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue an unfinished run.", rich_help_panel=o.HOW)
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Start afresh.", rich_help_panel=o.HOW)] = False,
    device: o.Device = "auto",
    capture: o.Capture = False,
    precision: Annotated[
        PrecisionChoice | None, typer.Option(help="By default the recipe's.", rich_help_panel=o.HOW)
    ] = None,
    compile_networks: Annotated[
        bool, typer.Option("--compile", help="Run the networks through torch.compile.", rich_help_panel=o.HOW)
    ] = False,
    devices: Annotated[int, typer.Option(min=1, help="Processes on each node.", rich_help_panel=o.HOW)] = 1,
    nodes: Annotated[int, typer.Option(min=1, help="Machines; start it once on each.", rich_help_panel=o.HOW)] = 1,
) -> None:
    """Train students, or teachers."""
    from distill.runs.launch import leave, relaunch
    from distill.runs.plan import Choices, plan_runs

    if resume and overwrite:
        raise XkdError("--resume and --overwrite: give one of the two")
    choices = Choices(
        data=data,
        teacher=teacher,
        teacher_weights=teacher_weights,
        val_split=val_split,
        precision=None if precision is None else precision.value,
        compile=compile_networks,
        overrides=tuple(overrides or ()),
    )
    planned = plan_runs(names, choices, runs, seeds=o.seeds(seeds), output=output)
    relaunch(sys.argv[1:], devices, nodes)

    from distill.cli.output import print_outcomes, training_bar
    from distill.runs.tables import Outcome
    from distill.training.loop import train as run

    outcomes = []
    try:
        for place in planned:
            with training_bar(place) as report:
                result = run(
                    place.recipe,
                    place.directory,
                    device=device,
                    runs=runs,
                    resume=resume,
                    overwrite=overwrite,
                    capture=capture,
                    progress=report,
                )
            outcomes.append(Outcome(place.name, result))
    except BaseException:
        leave(together=False)
        raise
    leave(together=True)
    print_outcomes(outcomes, [place.directory for place in planned])


@app.command(epilog=_SWEEP_EXAMPLES)
def sweep(
    file: Annotated[Path, typer.Argument(help="sweep.yaml.")],
    data: o.Data = None,
    overrides: o.Overrides = None,
    seeds: Annotated[
        str | None, typer.Option(help="Of all recipes, instead of the file's: 0,1,2.", rich_help_panel=o.WHAT)
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Its directory; by default runs/ and the file's name.", rich_help_panel=o.HOW
        ),
    ] = None,
    jobs: Annotated[
        int, typer.Option("--jobs", "-j", min=1, help="Runs at once on the one device.", rich_help_panel=o.HOW)
    ] = 1,
    device: o.Device = "auto",
    capture: o.Capture = False,
) -> None:
    """Pairs x methods x seeds; finished runs are kept, unfinished ones continued."""
    from distill.cli.output import print_sweep, sweep_bar
    from distill.runs.sweep import plan_sweep, run_sweep
    from distill.runs.sweep_file import SweepChoices, read_sweep

    directory = output or Path("runs") / file.stem
    choices = SweepChoices(
        data=data, seeds=o.seeds(seeds), overrides=tuple(overrides or ()), device=device, capture=capture
    )
    planned = plan_sweep(read_sweep(file), directory, choices)
    with sweep_bar() as report:
        result = run_sweep(planned, directory, jobs, report)
    print_sweep(result, directory)
    if result.failed:
        raise typer.Exit(2)


@app.command(epilog=_EVALUATE_EXAMPLES)
def evaluate(
    models: Annotated[list[str], typer.Argument(help="student.pt, timm/NAME, torchvision/NAME, py:package.module:f.")],
    data: Annotated[str, typer.Option("--data", "-d", help="Data set; its held-out part is used.")] = "embedded",
    teacher: o.Teacher = None,
    weights: Annotated[list[Path] | None, typer.Option(help="Weights, one a model, in the same order.")] = None,
    teacher_weights: o.TeacherWeights = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only a label-stratified sample of so many.")] = None,
    device: o.Device = "auto",
    workers: Annotated[int, typer.Option(min=0, help="Processes that decode images.")] = 0,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write the scores as JSON, too.")] = None,
) -> None:
    """Top-1, top-5, loss, calibration error, and agreement with --teacher."""
    from distill.cli.output import print_scores, write_scores
    from distill.students.measure import measure
    from xkd_eval.cli.output import progress_bar

    if weights and len(weights) != len(models):
        raise XkdError(f"--weights: {len(weights)} files for {len(models)} models; give one each, in the same order")
    scores = {}
    for position, model in enumerate(models):
        with progress_bar(model) as report:
            scores[model] = measure(
                model,
                data,
                weights=weights[position] if weights else None,
                teacher=teacher,
                teacher_weights=teacher_weights,
                images=limit,
                device=device,
                workers=workers,
                progress=report,
            )
    print_scores(scores, data)
    if output is not None:
        write_scores(scores, output)


@app.command(epilog=_EXPORT_EXAMPLES)
def export(
    model: Annotated[Path, typer.Argument(help="student.pt.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="A file: .onnx or .safetensors.")],
) -> None:
    """Write a student in another format, and check that it gives the same logits."""
    from distill.cli.output import console
    from distill.students.export import export as write

    difference = write(model, output)
    console.print(f"{output}: logits equal to {difference:.1e} of the largest", highlight=False, soft_wrap=True)


def main() -> None:
    """The console script: one-line errors on stderr, exit code 2; 130 after an interruption."""
    from distill.runs.launch import reported

    try:
        app()
    except TrainingInterruptedError as error:
        if os.environ.get("RANK", "0") == "0":
            print(error, file=sys.stderr)
        raise SystemExit(130) from None
    except XkdError as error:
        if not reported(error):
            print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
