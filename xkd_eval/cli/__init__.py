"""xkd-eval: one thin function a command. Commands parse and print; what they do is imported when it is needed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from xkd_eval.cli import options as o
from xkd_eval.cli.console import INTERRUPTED, Command, run

app = typer.Typer(
    name="xkd-eval",
    help="Does a compressed classifier still look at the right thing, and where its teacher looks?",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_PERTURBATION_EXAMPLES = """[b]Examples[/b]

xkd-eval perturbation

xkd-eval perturbation --model student.pt --data imagenet/val --workers 8

xkd-eval perturbation --model timm/resnet50.a1_in1k --data imagenet/val --limit 2000 --protocol exp-kd

xkd-eval perturbation --model torchvision/resnet18 --weights mine.pth --data cifar10/ --explainer gradcam++"""

_SEGMENTATION_EXAMPLES = """[b]Examples[/b]

xkd-eval segmentation

xkd-eval segmentation --model student.pt --data gtsegs_ijcv.mat

xkd-eval segmentation --model py:mypackage.models:make --data pictures_with_masks/ --explainer layercam"""

_OVERLAY_EXAMPLES = """[b]Examples[/b]

xkd-eval overlay --model student.pt photo.jpg

xkd-eval overlay --model teacher.pt --model student.pt a.jpg b.png -o figures/ --format pdf

xkd-eval overlay --model student.pt photo.jpg --class "tabby" --colormap inferno --alpha 0.6

xkd-eval overlay --data embedded --ids test-00003 --ids test-00017 --class top:3"""


_COMPARE_EXAMPLES = """[b]Examples[/b]

xkd-eval compare embedded/teacher embedded/plain embedded/kd embedded/exp_kd

xkd-eval compare teacher.pt plain.pt kd.pt exp_kd.pt --data imagenet/val --segmentation gtsegs_ijcv.mat -o report/

xkd-eval compare teacher.pt kd=kd-0.pt kd=kd-1.pt kd=kd-2.pt exp_kd=exp-0.pt exp_kd=exp-1.pt --data cifar100/

xkd-eval compare runs/perturbation/teacher runs/perturbation/student"""


@app.command(cls=Command, epilog=_PERTURBATION_EXAMPLES)
def perturbation(
    model: o.Model = "embedded",
    weights: o.Weights = None,
    data: o.Data = "embedded",
    labels: o.Labels = None,
    class_map: o.ClassMap = None,
    explainer: o.ExplainerName = "cam",
    maps: o.Maps = None,
    save_maps: o.SaveMaps = None,
    limit: o.Limit = None,
    size: o.Size = None,
    resize: o.Resize = None,
    interpolation: o.Interpolation = None,
    mean: o.Mean = None,
    std: o.Std = None,
    channel_order: o.ChannelOrder = None,
    value_range: o.ValueRange = None,
    protocol: o.Protocol = o.ProtocolChoice.model,
    target: o.Target = o.TargetChoice.predicted,
    fractions: o.Fractions = "0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8,0.9",
    fill: o.Fill = o.FillChoice.black,
    direction: o.Direction = o.DirectionChoice.both,
    output: o.Output = None,
    overwrite: o.Overwrite = False,
    device: o.Device = "auto",
    precision: o.Precision = o.PrecisionChoice.fp32,
    workers: o.Workers = None,
    batch_size: o.BatchSize = 32,
    seed: o.Seed = 0,
    strict: o.Strict = False,
) -> None:
    """Remove the most (positive) or least (negative) relevant pixels and classify again."""
    overrides = o.preprocess_overrides(size, resize, interpolation, mean, std, channel_order, value_range)
    _run_test(
        "perturbation_test",
        model,
        data,
        fractions=o.numbers("--fractions", fractions),
        fill=fill.value,
        direction=direction.value,
        explainer=explainer,
        maps=maps,
        save_maps=save_maps,
        protocol=protocol.value,
        target=target.value,
        weights=weights,
        preprocess=overrides,
        labels=labels,
        class_map=class_map,
        output=output or "auto",
        overwrite=overwrite,
        device=device,
        precision=precision.value,
        workers=workers,
        batch_size=batch_size,
        seed=seed,
        limit=limit,
        strict=strict,
    )


@app.command(cls=Command, epilog=_SEGMENTATION_EXAMPLES)
def segmentation(
    model: o.Model = "embedded",
    weights: o.Weights = None,
    data: o.Data = "embedded",
    labels: o.Labels = None,
    class_map: o.ClassMap = None,
    explainer: o.ExplainerName = "cam",
    maps: o.Maps = None,
    save_maps: o.SaveMaps = None,
    limit: o.Limit = None,
    size: o.Size = None,
    resize: o.Resize = None,
    interpolation: o.Interpolation = None,
    mean: o.Mean = None,
    std: o.Std = None,
    channel_order: o.ChannelOrder = None,
    value_range: o.ValueRange = None,
    protocol: o.Protocol = o.ProtocolChoice.model,
    target: o.Target = o.TargetChoice.predicted,
    output: o.Output = None,
    overwrite: o.Overwrite = False,
    device: o.Device = "auto",
    precision: o.Precision = o.PrecisionChoice.fp32,
    workers: o.Workers = None,
    batch_size: o.BatchSize = 32,
    seed: o.Seed = 0,
    strict: o.Strict = False,
) -> None:
    """Score maps against object masks: pixel accuracy, mIoU, mAP, F1, pointing game."""
    overrides = o.preprocess_overrides(size, resize, interpolation, mean, std, channel_order, value_range)
    _run_test(
        "segmentation_test",
        model,
        data,
        explainer=explainer,
        maps=maps,
        save_maps=save_maps,
        protocol=protocol.value,
        target=target.value,
        weights=weights,
        preprocess=overrides,
        labels=labels,
        class_map=class_map,
        output=output or "auto",
        overwrite=overwrite,
        device=device,
        precision=precision.value,
        workers=workers,
        batch_size=batch_size,
        seed=seed,
        limit=limit,
        strict=strict,
    )


@app.command(cls=Command, epilog=_OVERLAY_EXAMPLES)
def overlay(
    photos: Annotated[list[Path] | None, typer.Argument(help="Image files.", show_default=False)] = None,
    model: Annotated[
        list[str] | None, typer.Option("--model", "-m", help=o.MODEL_HELP + " Repeat it for columns.")
    ] = None,
    weights: Annotated[list[Path] | None, typer.Option(help="Weights, one a --model, in the same order.")] = None,
    classes: Annotated[str, typer.Option("--class", "-c", help="A name, an index, or top:K.")] = "top:1",
    explainer: Annotated[str, typer.Option("--explainer", "-e", help="See `xkd-eval explainers`.")] = "cam",
    data: Annotated[str | None, typer.Option("--data", "-d", help="Take the photos from a data set.")] = None,
    ids: Annotated[list[str] | None, typer.Option("--ids", help="Image ids in --data; repeat it.")] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="A seeded, label-stratified sample of --data instead of its first images.")
    ] = None,
    colormap: Annotated[str | None, typer.Option(help="matplotlib's name.")] = None,
    alpha: Annotated[float | None, typer.Option(help="The map's share in the overlay, 0 to 1.")] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="A file (.png .pdf .svg) or a folder: one figure a photo.")
    ] = Path("overlay.png"),
    file_format: Annotated[str, typer.Option("--format", help="png, pdf or svg, where -o is a folder.")] = "png",
    size: o.Size = None,
    resize: o.Resize = None,
    interpolation: o.Interpolation = None,
    mean: o.Mean = None,
    std: o.Std = None,
    channel_order: o.ChannelOrder = None,
    value_range: o.ValueRange = None,
    device: o.Device = "auto",
    precision: o.Precision = o.PrecisionChoice.fp32,
    workers: Annotated[
        int, typer.Option(min=0, help="Processes that decode photos; 0: this one.", rich_help_panel=o.HOW)
    ] = 0,
    batch_size: Annotated[int, typer.Option(min=1, help="Photos explained at a time.", rich_help_panel=o.HOW)] = 32,
    seed: o.Seed = 0,
) -> None:
    """Photo, map and overlay side by side."""
    from xkd_eval.cli.output import console, warn_of_slow_precision
    from xkd_eval.explanations.overlay import write_overlays

    warn_of_slow_precision(precision.value, device)

    written = write_overlays(
        models=model or ["embedded"],
        weights=weights or [],
        photos=photos or [],
        data=data,
        ids=ids or [],
        output=output,
        file_format=file_format,
        preprocess=o.preprocess_overrides(size, resize, interpolation, mean, std, channel_order, value_range),
        limit=limit,
        workers=workers,
        seed=seed,
        classes=classes,
        explainer=explainer,
        colormap=colormap,
        alpha=alpha,
        device=device,
        precision=precision.value,
        batch_size=batch_size,
    )
    for path in written:
        console.print(str(path), highlight=False, soft_wrap=True)


@app.command(cls=Command, epilog=_COMPARE_EXAMPLES)
def compare(
    models: Annotated[
        list[str],
        typer.Argument(
            help="Two or more, the teacher first: MODEL, or NAME=MODEL (several of one NAME are training seeds); or "
            "finished run directories."
        ),
    ],
    data: o.Data = "embedded",
    segmentation_data: Annotated[
        str | None,
        typer.Option(
            "--segmentation", help="Images with masks; by default --data where it has them.", rich_help_panel=o.WHAT
        ),
    ] = None,
    teacher: Annotated[
        str | None, typer.Option("--teacher", "-t", help="The reference, before all MODELS.", rich_help_panel=o.WHAT)
    ] = None,
    labels: o.Labels = None,
    class_map: o.ClassMap = None,
    explainer: o.ExplainerName = "cam",
    floors: Annotated[
        bool, typer.Option(help="Score random, centre and edge maps, and the oracle, too.", rich_help_panel=o.WHAT)
    ] = True,
    limit: o.Limit = None,
    protocol: o.Protocol = o.ProtocolChoice.model,
    target: o.Target = o.TargetChoice.predicted,
    fill: o.Fill = o.FillChoice.black,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Report, figures, tables and runs.", rich_help_panel=o.HOW)
    ] = Path("runs/compare"),
    overwrite: o.Overwrite = False,
    pictured: Annotated[int, typer.Option(min=0, help="Images in the report's gallery.", rich_help_panel=o.HOW)] = 60,
    device: o.Device = "auto",
    precision: o.Precision = o.PrecisionChoice.fp32,
    workers: o.Workers = None,
    batch_size: o.BatchSize = 32,
    seed: o.Seed = 0,
    strict: o.Strict = False,
) -> None:
    """Which model explains itself better, is the difference real, and does it look where its teacher looks?"""
    import shlex

    from xkd_eval.cli.output import comparison_bar, console, print_comparison, warn_of_slow_precision
    from xkd_eval.comparison import compare as compare_models

    warn_of_slow_precision(precision.value, device)
    with _keeping_what_is_done(), comparison_bar() as report:
        result = compare_models(
            models if teacher is None else [teacher, *(model for model in models if model != teacher)],
            data,
            segmentation=segmentation_data,
            labels=labels,
            explainer=explainer,
            floors=floors,
            images=limit,
            output=output,
            pictured=pictured,
            command=shlex.join(["xkd-eval", *sys.argv[1:]]),
            seed=seed,
            progress=report,
            class_map=class_map,
            protocol=protocol.value,
            target=target.value,
            fill=fill.value,
            overwrite=overwrite,
            device=device,
            precision=precision.value,
            workers=workers,
            batch_size=batch_size,
            strict=strict,
        )
    print_comparison(result)
    console.print(f"report: {output / 'report.html'}", highlight=False, soft_wrap=True)


@app.command(cls=Command)
def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="Where the runs and figures go.")] = Path("runs/demo"),
    quick: Annotated[bool, typer.Option("--quick", help="Fewer images in the comparison.")] = False,
) -> None:
    """All evaluations on the embedded data, and a teacher compared with its students: a minute or two, offline."""
    from xkd_eval.cli.output import comparison_bar, console, print_comparison, print_summary, progress_bar
    from xkd_eval.demo import demo_comparison, demo_evaluations, demo_overlay

    with _keeping_what_is_done():
        for name, evaluate in demo_evaluations(output).items():
            with progress_bar(name) as report:
                result = evaluate(report)
            print_summary(result.summary)
            console.print(f"in {result.directory}\n", highlight=False, soft_wrap=True)
        console.print(f"overlays in {demo_overlay(output)}\n", highlight=False, soft_wrap=True)
        with comparison_bar() as report:
            comparison, place = demo_comparison(output, quick=quick, progress=report)
    print_comparison(comparison)
    console.print(f"report: {place}", highlight=False, soft_wrap=True)


@app.command(cls=Command)
def inspect(
    model: Annotated[str, typer.Argument(help=o.MODEL_HELP)] = "embedded",
    weights: o.Weights = None,
    size: o.Size = None,
    resize: o.Resize = None,
    interpolation: o.Interpolation = None,
    mean: o.Mean = None,
    std: o.Std = None,
    channel_order: o.ChannelOrder = None,
    value_range: o.ValueRange = None,
) -> None:
    """The CAM head found and its proof, the input convention, the classes, and which explainers hold."""
    from xkd_eval.classifiers.inspection import inspect_classifier
    from xkd_eval.classifiers.loading import load_classifier
    from xkd_eval.cli.output import print_inspection

    overrides = o.preprocess_overrides(size, resize, interpolation, mean, std, channel_order, value_range)
    print_inspection(inspect_classifier(load_classifier(model, weights=weights, **overrides)))


@app.command(cls=Command)
def explainers() -> None:
    """All explainers, with the paper behind each and its cost."""
    from xkd_eval.cli.output import print_explainers
    from xkd_eval.explainers import list_explainers

    print_explainers(list_explainers())


def _run_test(name: str, model: str, data: str, **options: Any) -> None:
    from xkd_eval import evaluate
    from xkd_eval.cli.output import console, print_summary, progress_bar, warn_of_slow_precision

    warn_of_slow_precision(options["precision"], options["device"])
    with _keeping_what_is_done(), progress_bar(name.removesuffix("_test")) as report:
        result = getattr(evaluate, name)(model, data, progress=report, **options)
    print_summary(result.summary)
    console.print(f"in {result.directory}", highlight=False, soft_wrap=True)


@contextmanager
def _keeping_what_is_done() -> Iterator[None]:
    """Ctrl-C ends the command with a sentence and exit code 130."""
    try:
        yield
    except KeyboardInterrupt:
        print("interrupted; what is done is kept: the same command continues", file=sys.stderr)
        raise typer.Exit(INTERRUPTED) from None


def main() -> None:
    """The console script."""
    run(app)
