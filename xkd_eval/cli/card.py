"""xkd-eval card."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from xkd_eval.cli import options as o
from xkd_eval.cli.app import app
from xkd_eval.cli.console import Command, console, separated
from xkd_eval.evaluations.perturbation.options import PerturbationOptions
from xkd_eval.study.options import RunOptions

_EXAMPLES = """[b]Examples[/b]

xkd-eval card student.pt -o hub/README.md --runs runs/perturbation/student

xkd-eval card student.pt --data imagenet/val --test perturbation,insertion_deletion --limit 1000 --license apache-2.0

xkd-eval card student.pt --runs runs/ --data imagenet/val --push-to ORG/NAME"""

SAID = "What it says"

_Runs = Annotated[
    list[Path] | None,
    typer.Option(
        "--runs",
        help="Finished runs of the model, or a folder of them: nothing is computed. Repeat it.",
        rich_help_panel=o.WHAT,
    ),
]
_Data = Annotated[
    str | None,
    typer.Option(
        "--data", "-d", help="Computes scores on it; beside --runs it shows photographs of it.", rich_help_panel=o.WHAT
    ),
]
_Tests = Annotated[
    list[str] | None,
    typer.Option("--test", help="By default perturbation; several by commas, or repeat it.", rich_help_panel=o.WHAT),
]
_Explainers = Annotated[
    list[str] | None,
    typer.Option("--explainer", "-e", help="By default cam; several by commas, or repeat it.", rich_help_panel=o.WHAT),
]
_Name = Annotated[str | None, typer.Option(help="Of the model; by default the file's.", rich_help_panel=SAID)]
_License = Annotated[str | None, typer.Option(help="The hub's identifier: apache-2.0, mit.", rich_help_panel=SAID)]
_BaseModel = Annotated[str | None, typer.Option(help="ORG/NAME of what it was made of.", rich_help_panel=SAID)]
_Tags = Annotated[list[str] | None, typer.Option("--tag", help="Beside its own; repeat it.", rich_help_panel=SAID)]
_Photographs = Annotated[
    int, typer.Option(min=0, max=100, help="Of --data, shown with their maps.", rich_help_panel=SAID)
]
_Output = Annotated[
    Path, typer.Option("--output", "-o", help="The file; pictures go into card/ beside it.", rich_help_panel=o.HOW)
]
_PushTo = Annotated[
    str | None,
    typer.Option(help="ORG/NAME on the hub: upload card, pictures and the model's file.", rich_help_panel=o.HOW),
]


@app.command(cls=Command, epilog=_EXAMPLES)
@o.takes(
    RunOptions,
    PerturbationOptions,
    without=("maps", "save_maps", "output", "overwrite", "figures", "models_at_once"),
)
def card(
    options: dict[str, Any],
    model: Annotated[str, typer.Argument(help=o.MODEL_HELP)],
    runs: _Runs = None,
    data: _Data = None,
    tests: _Tests = None,
    explainers: _Explainers = None,
    masks: o.Masks = None,
    name: _Name = None,
    license: _License = None,
    base_model: _BaseModel = None,
    tags: _Tags = None,
    photographs: _Photographs = 4,
    output: _Output = Path("runs/card/README.md"),
    push_to: _PushTo = None,
) -> None:
    """A model card for the Hugging Face hub: scores with intervals, how it was trained, pictures."""
    from xkd_eval.card.card import check_card_output, model_card
    from xkd_eval.card.facts import file_of
    from xkd_eval.card.upload import check_upload, upload
    from xkd_eval.cli.output import warn_of_slow_precision
    from xkd_eval.cli.progress import progress_bar

    check_card_output(output, file_of(model))
    if push_to is not None:
        check_upload(model, push_to)
    warn_of_slow_precision(options)
    with progress_bar() as report:
        made = model_card(
            model,
            data,
            runs=runs or (),
            tests=separated(tests or ()),
            explainers=separated(explainers or ("cam",)),
            masks=masks,
            name=name,
            license=license,
            base_model=base_model,
            tags=tags or (),
            repository=push_to,
            photographs=photographs,
            progress=report,
            **options,
        )
    written = made.write(output)
    console.print(f"card: {written}", highlight=False, markup=False, soft_wrap=True)
    if push_to is not None:
        console.print(f"uploaded: {upload(made, written, push_to)}", highlight=False, markup=False, soft_wrap=True)
