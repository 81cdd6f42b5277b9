"""xkd-distill evaluate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any

import typer

from distill.cli import options as o
from xkd_eval.cli.options import takes
from xkd_eval.errors import XkdError
from xkd_eval.files import check_output
from xkd_eval.study.options import PREPROCESS, RunOptions

EXAMPLES = """[b]Examples[/b]

xkd-distill evaluate student.pt --data cifar100/

xkd-distill evaluate kd.pt exp_kd.pt --teacher resnet56.pt --data cifar100/ -o scores.json

xkd-distill evaluate xkd/resnet20 xkd/resnet20 --weights a.pth --weights b.pth --data cifar100/ --split val

xkd-distill evaluate timm/resnet18,weights=mine.pth,size=64,mean=0.5,std=0.5 student.pt --data photos/

xkd-distill evaluate student.pt --data photos/ --per-class --confusion confusion.png --predictions answers.parquet

xkd-distill evaluate kd=runs/kd/student.pt exp-kd=runs/exp-kd/student.pt --teacher resnet56.pt --data cifar100/
--latency --measure perturbation --measure-limit 500 -o table.md"""

WRITTEN = "What is written"
EXPLAINED = "Explanations"

_Latency = Annotated[
    bool, typer.Option("--latency", help="Time single images and batches on this machine, too.", rich_help_panel=o.HOW)
]
_Teacher = Annotated[
    str | None,
    typer.Option("--teacher", "-t", help="Agreement with this model, KL to it, and a row of its own."),
]
_TeacherWeights = Annotated[
    Path | None, typer.Option(help="Weights for the teacher's architecture: FILE or FILE#PART.")
]
_PerClass = Annotated[
    bool, typer.Option("--per-class", help="Print every class, the worst first.", rich_help_panel=WRITTEN)
]
_Confusion = Annotated[
    Path | None,
    typer.Option(help="Write the confusion matrix: .csv, or of one model .png, .pdf, .svg.", rich_help_panel=WRITTEN),
]
_Predictions = Annotated[
    Path | None, typer.Option(help="Write a row an image and model: .parquet.", rich_help_panel=WRITTEN)
]
_Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="Write all scores: .json, or the table: .csv, .md.", rich_help_panel=WRITTEN),
]
_Measure = Annotated[
    list[str] | None,
    typer.Option(
        help="Test explanations, too: names of `xkd-eval tests`, several by commas.", rich_help_panel=EXPLAINED
    ),
]
_Explainers = Annotated[
    list[str] | None,
    typer.Option(
        "--explainer",
        "-e",
        help="Whose maps: names of `xkd-eval explainers`; by default cam.",
        rich_help_panel=EXPLAINED,
    ),
]
_MeasureData = Annotated[
    str | None,
    typer.Option(help="Images for these tests, such as some with masks; by default --data.", rich_help_panel=EXPLAINED),
]
_MeasureLimit = Annotated[
    int | None, typer.Option(min=1, help="Only so many images for these tests.", rich_help_panel=EXPLAINED)
]
_Runs = Annotated[
    Path | None,
    typer.Option(
        help="Keep these tests' rows there, to be continued; by default in memory.", rich_help_panel=EXPLAINED
    ),
]


@takes(RunOptions, only=PREPROCESS)
def evaluate(
    options: dict[str, Any],
    models: o.Models,
    data: o.TestData = "embedded",
    split: o.Split = o.SplitChoice.test,
    limit: o.Limit = None,
    teacher: _Teacher = None,
    weights: o.Weights = None,
    teacher_weights: _TeacherWeights = None,
    per_class: _PerClass = False,
    output: _Output = None,
    confusion: _Confusion = None,
    predictions: _Predictions = None,
    measure: _Measure = None,
    explainers: _Explainers = None,
    measure_data: _MeasureData = None,
    measure_limit: _MeasureLimit = None,
    runs: _Runs = None,
    latency: _Latency = False,
    device: o.Device = "auto",
    workers: o.Workers = 0,
    imports: o.Imports = None,
) -> None:
    """Accuracy, per class too, calibration, cost; agreement with --teacher; scores of explanations by --measure."""
    written = {"output": output, "confusion": confusion, "predictions": predictions}
    given = (*(weights or ()), data, teacher_weights, measure_data)
    read = [source for source in given if source is not None]
    _check_written(written, [*read, *_files([*models, *([teacher] if teacher else [])])], len(models))
    from distill.cli.evaluation import evaluation_bar, print_evaluation
    from distill.recipe.imports import import_all
    from distill.students.evaluate import evaluate as measured
    from xkd_eval.cli.console import separated

    import_all(imports or ())
    with evaluation_bar() as progress:
        found = measured(
            models,
            data,
            split=split.value,
            weights=weights or None,
            teacher=teacher,
            teacher_weights=teacher_weights,
            limit=limit,
            latency=latency,
            measure=separated(measure or ()),
            explainers=separated(explainers or ("cam",)),
            measure_data=measure_data,
            measure_limit=measure_limit,
            runs=runs,
            device=device,
            workers=workers,
            progress=progress,
            **options,
        )
    print_evaluation(found, per_class)
    writers = {"output": found.write, "confusion": found.write_confusion, "predictions": found.write_predictions}
    _write([(writers[name], path) for name, path in written.items() if path is not None])


def _files(models: Sequence[str]) -> list[str | Path]:
    """The files that models are read from."""
    from xkd_eval.classifiers.words import files_of
    from xkd_eval.study.models import split_name

    return [file for model in models for file in files_of(split_name(model)[1])]


def _check_written(written: dict[str, Path | None], inputs: Sequence[str | Path], n_models: int) -> None:
    """Refuse, before the work for them, files that cannot be written."""
    from distill.students.formats import CONFUSION, FIGURES, PREDICTIONS, SCORES, check_suffix

    chosen = {name: path for name, path in written.items() if path is not None}
    for name, path in chosen.items():
        check_output(path, inputs, name)
        check_suffix(name, path, {"output": SCORES, "confusion": CONFUSION, "predictions": PREDICTIONS}[name])
    for (first, path), (second, other) in combinations(chosen.items(), 2):
        if path.resolve() == other.resolve():
            raise XkdError(f"{second}: {str(other)!r} is the file of `{first}`, too; give another")
    if n_models > 1 and "confusion" in chosen and chosen["confusion"].suffix in FIGURES:
        raise XkdError(f"confusion: a figure shows one model, and {n_models} are given; write .csv, or evaluate one")


def _write(jobs: Sequence[tuple[Callable[[Path], None], Path]]) -> None:
    """Write all that can be; the first that cannot is the error."""
    failed: list[XkdError] = []
    for write, path in jobs:
        try:
            write(path)
        except XkdError as error:
            failed.append(error)
    if failed:
        raise failed[0]
