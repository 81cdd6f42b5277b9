"""Options of commands, made from dataclasses: a field, its type, its default and its docstring are said there once."""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable, Collection, Sequence
from dataclasses import MISSING, Field, fields
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import typer

from xkd_eval.study.options import helps
from xkd_eval.written import written_numbers, written_size

WHAT = "What is evaluated"
RULES = "Rules that change the protocol hash"
HOW = "How it runs"

MODEL_HELP = (
    "student.pt, model.onnx, model.xml (OpenVINO), [b]timm/NAME[/b], [b]torchvision/NAME[/b], [b]hf:ORG/MODEL[/b], "
    "[b]xkd/NAME[/b], [b]embedded/NAME[/b] or [b]py:package.module:function[/b]; by default the embedded teacher. With "
    "options behind it: NAME,weights=FILE,size=64,mean=0.5,std=0.5."
)

Model = Annotated[str, typer.Option("--model", "-m", help=MODEL_HELP, rich_help_panel=WHAT)]
Data = Annotated[
    str,
    typer.Option(
        "--data",
        "-d",
        help="A folder, archive or file; recognised by what is in it: photographs, or .npy and .tif files of as many "
        "channels as the model takes. Or a URL of one, or of shards (https://host/val-{000..099}.tar, s3://, "
        "hf://datasets/...), which is fetched once.",
        rich_help_panel=WHAT,
    ),
]
Masks = Annotated[
    str | None,
    typer.Option(
        "--masks",
        "--segmentation",
        help="Images with masks, for tests that need them; by default --data where it has them.",
        rich_help_panel=WHAT,
    ),
]
Runs = Annotated[
    Path | None,
    typer.Option(
        help="Where runs lie; what is finished there is shared. By default OUTPUT/runs, or runs/.", rich_help_panel=HOW
    ),
]
Paper = Annotated[
    list[str],
    typer.Option(
        "--paper",
        "--figure",
        metavar="SIZE.FORMAT",
        help="Write the figures for a paper as well, as NAME-SIZE.FORMAT: single (a column, 3.25 in wide), double "
        "(6.875 in), 84mm or 84x60mm; pdf (default), svg, png, several by commas. Repeat it.",
        rich_help_panel=HOW,
    ),
]
Floors = Annotated[
    bool,
    typer.Option(
        help="Score maps that know nothing of the model as well (random, centre, edges, fake_cam), and the masks where "
        "there are any: what a score must beat. They cost as much as an explainer each.",
        rich_help_panel=WHAT,
    ),
]
Devices = Annotated[
    int,
    typer.Option(
        min=1, help="Processes on each node, which share the images: one a GPU, or one a core.", rich_help_panel=HOW
    ),
]
Nodes = Annotated[int, typer.Option(min=1, help="Machines; start it once on each.", rich_help_panel=HOW)]
ExplainerName = Annotated[
    str,
    typer.Option(
        "--explainer",
        "-e",
        help="See `xkd-eval explainers`; with options: integrated_gradients:steps=200.",
        rich_help_panel=WHAT,
    ),
]

_SHORT = {"output": "-o"}


def takes(*kinds: type, only: Collection[str] = (), without: Collection[str] = ()) -> Callable[[Any], Any]:
    """Decorator: a command that has an option a field of each dataclass, and gets those that were set as `options`.

    Args:
        kinds: dataclasses; of two fields of one name the first counts.
        only: these fields alone; by default all.
        without: these fields not.
    """
    found: dict[str, tuple[Field[Any], Any, str, str]] = {}
    for kind in kinds:
        hints, said = get_type_hints(kind), helps(kind)
        for field in fields(kind):
            if field.name not in without and (not only or field.name in only):
                section, text = said[field.name]
                found.setdefault(field.name, (field, hints[field.name], section, text))

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        own = inspect.signature(function, eval_str=True).parameters.values()
        made = {name: _parameter(*described) for name, described in found.items()}

        @functools.wraps(function)
        def command(**given: Any) -> None:
            options = {
                name: value
                for name, (field, hint, *_) in found.items()
                if (value := _read(name, hint, given.pop(name))) is not None and value != field.default
            }
            function(**given, options=options)

        listed = [parameter for parameter in own if parameter.name != "options"] + list(made.values())
        keywords = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in listed]
        command.__signature__ = inspect.Signature(keywords)  # type: ignore[attr-defined]
        command.__annotations__ = {parameter.name: parameter.annotation for parameter in keywords}
        return command

    return decorate


def _parameter(field: Field[Any], hint: Any, section: str, text: str) -> inspect.Parameter:
    """One field as typer reads it."""
    flags = [f"--{field.name.replace('_', '-')}", *([_SHORT[field.name]] if field.name in _SHORT else [])]
    default: Any = None if field.default is MISSING else field.default
    kind = _kind(hint)
    if kind is bool and default is not False:
        flags = [f"{flags[0]}/--no-{flags[0].removeprefix('--')}"]
    elif _is_choice(kind):
        choices = StrEnum(field.name, {choice: choice for choice in get_args(kind)})  # type: ignore[misc]
        kind, default = choices, None if default is None else choices(default)
    elif kind not in (bool, int, float, str, Path, list[Path]):
        kind, default = str, None if default is None else ",".join(map(str, default))
    panel = RULES if section == "Attributes" else section
    option = typer.Option(*flags, help=f"{text[0].upper()}{text[1:]}", rich_help_panel=panel)
    annotation = kind if default is not None else kind | None
    return inspect.Parameter(
        field.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[annotation, option]
    )


def _kind(hint: Any) -> Any:
    """The type as a command line sees it: without None, a list of files for several files."""
    parts = [part for part in _parts(hint) if part is not type(None)]
    if Sequence[str | Path] in parts:
        return list[Path]
    return parts[0] if len(parts) == 1 else parts[-1]


def _parts(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)


def _is_choice(kind: Any) -> bool:
    return get_origin(kind) is Literal


def _read(name: str, hint: Any, given: Any) -> Any:
    """What a command line gives as the field's value; None where nothing was given."""
    if isinstance(given, StrEnum):
        return given.value
    kind = _kind(hint)
    if isinstance(given, list):
        return tuple(given) or None
    if not isinstance(given, str) or kind in (str, Path):
        return given
    if kind == tuple[int, int]:
        return written_size(name, given)
    values = written_numbers(name, given)
    one = len(_parts(hint)) > 1 and float in _parts(hint) and len(values) == 1
    return values[0] if one else values
