"""Recipe files: common keys, and named variants that change some of them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from distill.recipe.fields import Strict
from distill.recipe.imports import beside
from distill.recipe.merging import changed, merged, overridden
from distill.recipe.parse import parse_recipe
from distill.recipe.schema import Recipe
from distill.recipe.yaml_text import read_yaml, yaml_text
from xkd_eval.arguments import public
from xkd_eval.errors import XkdError
from xkd_eval.foreign import is_there, is_writable_name, parsed, short
from xkd_eval.registry import nearest

SUFFIXES = (".yaml", ".yml")
"""Of files; a name without one is that of a recipe that ships."""

_MOST_LISTED = 12
_FILE_AND_VARIANT = re.compile(r"(?s)(.*?\.ya?ml)(?::(.+))?")


class _Content(Strict):
    """What stands in a recipe file; a key without a value is as good as absent.

    Attributes:
        description: one line.
        extends: the file whose keys and variants this one changes, or the one variant of it whose keys: a path from the
            folder of this one ("base.yaml", "base.yaml:wide"), or the name of one that ships ("photographs/plain").
        recipe: keys of all variants.
        variants: name to dotted key to value.
    """

    description: str | None = None
    extends: str | None = None
    recipe: dict[str, Any] | None = None
    variants: dict[str, dict[str, Any] | None] | None = None


@dataclass(frozen=True)
class RecipeFile:
    """A file as it is after its `extends`.

    Attributes:
        name: "exp-kd/cifar100" for those that ship, the path for others.
        description: one line.
        common: keys of all variants.
        variants: name to dotted key to value, in the file's order; empty where the file is one recipe.
    """

    name: str
    description: str
    common: Mapping[str, Any]
    variants: Mapping[str, Mapping[str, Any]]

    def names(self) -> list[str]:
        """The names that `train` and `load_recipe` take, one a variant."""
        separator = ":" if self.name.endswith(SUFFIXES) else "/"
        return [f"{self.name}{separator}{variant}" for variant in self.variants] or [self.name]


def shipped_files() -> list[RecipeFile]:
    """All files that come with the package, but those that others merely extend."""
    return [_read_shipped(name) for name in _shipped_names() if not name.rpartition("/")[2].startswith("_")]


def expand(name: str) -> list[str]:
    """The recipes that a name stands for: itself, or all variants of a file.

    Raises:
        XkdError: unknown; the message names the nearest.
    """
    file, variant = _find(name)
    return file.names() if variant is None else [name]


@public()
def load_recipe(name: str, overrides: Sequence[str] = ()) -> Recipe:
    """A recipe by name, with `key=value` overrides.

    Args:
        name: "exp-kd/cifar100/resnet56-resnet20", "mine.yaml" or "mine.yml:variant".
        overrides: dotted keys, values in YAML: "epochs=60", "losses.exp_kd.weight=2000", "schedule={name: cosine}".
            They are applied in order over the file's keys, and mappings are merged: under another `data.loader`,
            `optimiser.name` or `schedule.name`, what the new kind reads as well stays. A loss goes by its `name`, or
            else by its `method`.

    Raises:
        XkdError: unknown name, or keys and values that make no recipe.

    Example:
        >>> import distill
        >>> distill.load_recipe("quickstart/exp_kd", ["losses.exp_kd.weight=2000"]).losses[1].weight
        2000.0
    """
    file, variant = _find(name)
    if variant is None and file.variants:
        names = file.names() if len(file.variants) <= _MOST_LISTED else [*file.names()[:_MOST_LISTED], "..."]
        raise XkdError(f"recipe: {short(name)} has {len(file.variants)} variants; name one: {', '.join(names)}")
    values = _with_variant(file.common, file.variants[variant] if variant is not None else {}, name)
    return parse_recipe(beside(overridden(values, overrides), Path.cwd()), name)


def as_recipe(given: Recipe | str | Path | Mapping[str, Any], overrides: Sequence[str] = ()) -> Recipe:
    """A recipe in whatever way it is given.

    Args:
        given: a Recipe, checked again, as copies of one need not have been; the name or path that `load_recipe` takes;
            or nested plain values as YAML has them. numpy's numbers stand for Python's.
        overrides: as for `load_recipe`.

    Raises:
        XkdError: unknown name, or keys and values that make no recipe.
    """
    if isinstance(given, str | Path):
        return load_recipe(str(given), overrides)
    try:
        values = _plain(given)
    except RecursionError:
        raise XkdError("recipe: nested too deeply; expected plain values") from None
    return parse_recipe(beside(overridden(values, overrides), Path.cwd()))


def recipe_text(recipe: Recipe) -> str:
    """A file of one recipe as it was resolved, which `train` takes again."""
    return yaml_text({"recipe": recipe.model_dump(mode="json", exclude_none=True)})


def _plain(given: Any) -> Any:
    """Nested models, mappings, sequences and numbers as YAML has them; other values as they are.

    Not by pydantic, whose copies may hold what it then leaves out.
    """
    if isinstance(given, BaseModel):
        given = {**vars(given), **(given.model_extra or {})}
    if isinstance(given, Mapping):
        return {key: _plain(value) for key, value in given.items()}
    if isinstance(given, list | tuple):
        return [_plain(value) for value in given]
    if isinstance(given, Real) and not isinstance(given, bool):
        return int(given) if isinstance(given, Integral) else float(given)
    return given


def file_and_variant(name: str) -> tuple[str, str | None] | None:
    """ "folder/mine.yml:wide" -> ("folder/mine.yml", "wide"); "mine.yaml" has no variant; None for what is no file."""
    found = _FILE_AND_VARIANT.fullmatch(name)
    return None if found is None else (found[1], found[2])


def _find(name: str) -> tuple[RecipeFile, str | None]:
    if not isinstance(name, str):
        raise XkdError(f"recipe: {short(name)} found; expected a recipe's name, or a file's")
    if written := file_and_variant(name):
        path, variant = written
        file = _read(path)
        return file, None if variant is None else _known_variant(file, variant)
    shipped = list(_shipped_names())
    parent, _, last = name.rpartition("/")
    if name in shipped:
        return _read_shipped(name), None
    if parent in shipped:
        file = _read_shipped(parent)
        return file, _known_variant(file, last)
    known = [recipe for file in shipped_files() for recipe in [file.name, *file.names()]]
    raise XkdError(f"recipe: {short(name)} is unknown; {_few(name, known)}; `xkd-distill recipes` lists all")


def _known_variant(file: RecipeFile, variant: str) -> str:
    if variant not in file.variants:
        raise XkdError(
            f"recipe: {file.name!r} has no variant {short(variant)}; {nearest(variant, list(file.variants))}"
        )
    return variant


def _few(name: str, known: list[str]) -> str:
    text = nearest(name, known)
    return text if text.startswith("nearest") else "no name is near"


def _shipped_names() -> Iterator[str]:
    root = Path(str(files("distill") / "recipes"))
    for path in sorted(root.rglob("*.yaml")):
        yield path.relative_to(root).with_suffix("").as_posix()


@cache
def _read_shipped(name: str) -> RecipeFile:
    """Once: most of them extend the same few."""
    return _read(name)


def _read(name: str, extending: tuple[Path, ...] = ()) -> RecipeFile:
    """A file after its `extends`; `extending` are those that led to it."""
    path = Path(name) if name.endswith(SUFFIXES) else _shipped(name)
    content = parsed(_Content, read_yaml(path, "recipe"), f"recipe: {short(str(path))}")
    common = beside(content.recipe or {}, path.parent)
    variants = {variant: beside(keys or {}, path.parent) for variant, keys in (content.variants or {}).items()}
    for variant in variants:
        if not is_writable_name(variant):  # its runs lie in a directory of that name
            raise XkdError(f"recipe: {short(str(path))} has a variant {short(variant)}; expected a name without '/'")
    if content.extends:
        if path.resolve() in extending:
            raise XkdError(f"recipe: {short(str(path))} extends itself; mend `extends`")
        base = _extended(content.extends, path, (*extending, path.resolve()))
        names = dict.fromkeys([*base.variants, *variants])
        _check_nothing_is_lost(common, base, variants, f"recipe: {short(str(path))}", content.extends)
        common = merged(base.common, common)
        variants = {name: {**base.variants.get(name, {}), **variants.get(name, {})} for name in names}
    return RecipeFile(name, content.description or "", common, variants)


def _extended(name: str, path: Path, extending: tuple[Path, ...]) -> RecipeFile:
    """What the file at `path` extends: a file beside it, or one that ships; a variant of either has its keys alone."""
    written, shipped = file_and_variant(name), list(_shipped_names())
    parent, _, last = name.rpartition("/")
    if written:
        file, variant = str(path.parent / written[0]), written[1]
        looked = f"looked for {file!r}, as a path is relative to the file that says it"
        found = is_there(Path(file), Path.is_file)
    else:
        file, variant = (name, None) if name in shipped else (parent, last)
        looked = f"no recipe that ships is called so ({_few(name, shipped)}), and a file's name ends in .yaml or .yml"
        found = file in shipped
    if not found:
        raise XkdError(f"recipe: {short(str(path))} extends {short(name)}, which is not there; {looked}")
    base = _read(file, extending) if written else _read_shipped(file)
    return base if variant is None else _alone(base, _known_variant(base, variant))


def _alone(file: RecipeFile, variant: str) -> RecipeFile:
    """One variant of a file as a file without variants."""
    return replace(file, common=_with_variant(file.common, file.variants[variant], file.name), variants={})


def _with_variant(common: Mapping[str, Any], keys: Mapping[str, Any], source: str) -> Mapping[str, Any]:
    for key, value in keys.items():
        common = changed(common, key, value, source)
    return common


def _check_nothing_is_lost(
    common: Mapping[str, Any], base: RecipeFile, own: Mapping[str, Any], source: str, extends: str
) -> None:
    """Refuse keys of a file that variants of the one that it extends set otherwise: nothing would read them."""
    for variant, keys in base.variants.items():
        inherited = {key: value for key, value in keys.items() if key not in own.get(variant, {})}
        resolved = _with_variant(merged(base.common, common), inherited, source)
        for key, value in _leaves(common):
            if _at(resolved, key) != value:
                separator = ":" if base.name.endswith(SUFFIXES) else "/"
                raise XkdError(
                    f"{source} sets {key}, which {variant!r} of {extends} sets otherwise; extend one of its "
                    f"variants (`extends: {extends}{separator}{next(iter(base.variants))}`), or set it in `variants`"
                )


def _leaves(values: Mapping[str, Any], place: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{place}{key}.")
        else:
            yield f"{place}{key}", value


def _at(values: Any, key: str) -> Any:
    for part in key.split("."):
        values = values.get(part) if isinstance(values, Mapping) else None
    return values


def _shipped(name: str) -> Path:
    return Path(str(files("distill") / "recipes")) / f"{name}.yaml"
