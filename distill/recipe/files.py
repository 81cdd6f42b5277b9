"""Recipe files: common keys, and a table of named rows that change some of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from distill.recipe.schema import Recipe, nearest, parse_recipe
from xkd_eval.errors import XkdError

_FILE_KEYS = ("description", "extends", "recipe", "rows")
# A mapping in which one of these differs is another kind of thing: it replaces the former one whole.
_KINDS = ("name", "loader")
# Two names of a teacher: giving the one takes the other back.
_RIVALS = {"recipe": ("model",), "model": ("recipe",)}


@dataclass(frozen=True)
class RecipeFile:
    """A file as it is after its `extends`.

    Attributes:
        name: "exp-kd/cifar100" for those that ship, the path for others.
        description: one line.
        common: keys of all rows.
        rows: name to dotted key to value, in the file's order; empty where the file is one recipe.
    """

    name: str
    description: str
    common: dict[str, Any]
    rows: dict[str, dict[str, Any]]

    def names(self) -> list[str]:
        """What `train` calls its recipes."""
        separator = ":" if self.name.endswith(".yaml") else "/"
        return [f"{self.name}{separator}{row}" for row in self.rows] or [self.name]


def shipped_files() -> list[RecipeFile]:
    """All files that come with the package, but those that others merely extend."""
    return [_read(name) for name in _shipped_names() if not name.rpartition("/")[2].startswith("_")]


def expand(name: str) -> list[str]:
    """The recipes that a name stands for: itself, or all rows of a file.

    Raises:
        XkdError: unknown; the message names the nearest.
    """
    file, row = _find(name)
    return file.names() if row is None else [name]


def load_recipe(name: str, overrides: Sequence[str] = ()) -> Recipe:
    """A recipe by name, with `key=value` overrides.

    Args:
        name: "exp-kd/cifar100/resnet56-resnet20", "mine.yaml" or "mine.yaml:row".
        overrides: dotted keys, values in YAML: "epochs=60", "losses.exp_kd.weight=2000", "schedule={name: cosine}".

    Raises:
        XkdError: unknown name, or keys and values that make no recipe.
    """
    file, row = _find(name)
    if row is None and file.rows:
        raise XkdError(f"recipe: {name!r} has {len(file.rows)} rows; name one: {', '.join(file.names())}")
    values = file.common
    for key, value in (file.rows[row] if row is not None else {}).items():
        values = _with(values, key, value, name)
    for override in overrides:
        key, separator, text = override.partition("=")
        if not separator or not key:
            raise XkdError(f"overrides: {override!r} found; expected key=value, such as epochs=60")
        values = _with(values, key, _parsed(text, override), f"overrides {override}")
    return parse_recipe(values, name)


def directory_name(recipe: str) -> str:
    """Where a recipe's runs lie below the runs: "exp-kd/cifar100/resnet56-resnet20"; "mine/row" of mine.yaml:row."""
    path, _, row = recipe.partition(".yaml:")
    if row:
        return f"{Path(path).name}/{row}"
    return Path(recipe).stem if recipe.endswith(".yaml") else recipe


def recipe_text(recipe: Recipe) -> str:
    """A file of one recipe as it was resolved, which `train` takes again."""
    return yaml.safe_dump({"recipe": recipe.model_dump(mode="json", exclude_none=True)}, sort_keys=False)


def _find(name: str) -> tuple[RecipeFile, str | None]:
    path, _, row = name.partition(".yaml:")
    if name.endswith(".yaml") or row:
        file = _read(name if not row else f"{path}.yaml")
        return file, _known_row(file, row) if row else None
    shipped = list(_shipped_names())
    parent, _, last = name.rpartition("/")
    if name in shipped:
        return _read(name), None
    if parent in shipped:
        file = _read(parent)
        return file, _known_row(file, last)
    known = [recipe for file in shipped_files() for recipe in [file.name, *file.names()]]
    raise XkdError(f"recipe: {name!r} is unknown; {_few(name, known)}; `xkd-distill recipes` lists all")


def _known_row(file: RecipeFile, row: str) -> str:
    if row not in file.rows:
        raise XkdError(f"recipe: {file.name!r} has no row {row!r}; {nearest(row, list(file.rows))}")
    return row


def _few(name: str, known: list[str]) -> str:
    text = nearest(name, known)
    return text if text.startswith("nearest") else "no name is near"


def _shipped_names() -> Iterator[str]:
    root = Path(str(files("distill") / "recipes"))
    for path in sorted(root.rglob("*.yaml")):
        yield path.relative_to(root).with_suffix("").as_posix()


def _read(name: str) -> RecipeFile:
    path = Path(name) if name.endswith(".yaml") else Path(str(files("distill") / "recipes")) / f"{name}.yaml"
    try:
        content = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        raise XkdError(f"recipe: {str(path)!r} does not exist") from None
    except OSError as error:
        raise XkdError(f"recipe: {str(path)!r} cannot be read: {error.strerror or error}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise XkdError(f"recipe: {str(path)!r} is no YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise XkdError(f"recipe: {str(path)!r} holds no mapping; expected the keys {', '.join(_FILE_KEYS)}")
    for key in content:
        if key not in _FILE_KEYS:
            raise XkdError(f"{name}: nothing reads the key {key!r}; {nearest(str(key), list(_FILE_KEYS))}")
    common, rows = content.get("recipe") or {}, content.get("rows") or {}
    if content.get("extends"):
        base = _read(content["extends"])
        common = _merged(base.common, common)
        rows = {row: {**base.rows.get(row, {}), **(rows.get(row) or {})} for row in [*base.rows, *rows]}
    return RecipeFile(name, content.get("description", ""), common, {row: keys or {} for row, keys in rows.items()})


def _merged(base: Any, change: Any) -> Any:
    if not isinstance(base, Mapping) or not isinstance(change, Mapping):
        return change
    if any(kind in change and change[kind] != base.get(kind) for kind in _KINDS):
        return change
    kept = {key: value for key, value in base.items() if not _taken_back(key, change)}
    return {**kept, **{key: _merged(base.get(key), value) for key, value in change.items()}}


def _taken_back(key: str, change: Mapping[str, Any]) -> bool:
    return any(key in _RIVALS.get(given, ()) and value is not None for given, value in change.items())


def _with(values: Any, key: str, value: Any, source: str) -> Any:
    """A copy of nested values with the one at a dotted key merged with `value`; losses go by their method's name."""
    head, _, rest = key.partition(".")
    if isinstance(values, list | tuple):
        methods = [str(item.get("method")) if isinstance(item, Mapping) else "" for item in values]
        if head not in methods:
            raise XkdError(f"{source}: no loss {head!r} in the recipe; {nearest(head, methods)}")
        place = methods.index(head)
        return [*values[:place], _with(values[place], rest, value, source) if rest else value, *values[place + 1 :]]
    if not isinstance(values, Mapping):
        values = {}
    if rest:
        return {**values, head: _with(values.get(head), rest, value, source)}
    return _merged(values, {head: value})


def _parsed(text: str, override: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        raise XkdError(f"overrides: {override!r} found; the value is no YAML") from None
