"""Recipe files: common keys, and named variants that change some of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from distill.recipe.parse import parse_recipe
from distill.recipe.schema import Recipe
from xkd_eval.errors import XkdError
from xkd_eval.registry import nearest

_FILE_KEYS = ("description", "extends", "recipe", "variants")
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
        common: keys of all variants.
        variants: name to dotted key to value, in the file's order; empty where the file is one recipe.
    """

    name: str
    description: str
    common: dict[str, Any]
    variants: dict[str, dict[str, Any]]

    def names(self) -> list[str]:
        """The names that `train` and `load_recipe` take, one a variant."""
        separator = ":" if self.name.endswith(".yaml") else "/"
        return [f"{self.name}{separator}{variant}" for variant in self.variants] or [self.name]


def shipped_files() -> list[RecipeFile]:
    """All files that come with the package, but those that others merely extend."""
    return [_read(name) for name in _shipped_names() if not name.rpartition("/")[2].startswith("_")]


def expand(name: str) -> list[str]:
    """The recipes that a name stands for: itself, or all variants of a file.

    Raises:
        XkdError: unknown; the message names the nearest.
    """
    file, variant = _find(name)
    return file.names() if variant is None else [name]


def load_recipe(name: str, overrides: Sequence[str] = ()) -> Recipe:
    """A recipe by name, with `key=value` overrides.

    Args:
        name: "exp-kd/cifar100/resnet56-resnet20", "mine.yaml" or "mine.yaml:variant".
        overrides: dotted keys, values in YAML: "epochs=60", "losses.exp_kd.weight=2000", "schedule={name: cosine}".

    Raises:
        XkdError: unknown name, or keys and values that make no recipe.

    Example:
        >>> import distill
        >>> distill.load_recipe("quickstart/exp_kd", ["losses.exp_kd.weight=2000"]).losses[1].weight
        2000.0
    """
    file, variant = _find(name)
    if variant is None and file.variants:
        raise XkdError(f"recipe: {name!r} has {len(file.variants)} variants; name one: {', '.join(file.names())}")
    values = file.common
    for key, value in (file.variants[variant] if variant is not None else {}).items():
        values = _with(values, key, value, name)
    return parse_recipe(_overridden(values, overrides), name)


def as_recipe(given: Recipe | str | Path | Mapping[str, Any], overrides: Sequence[str] = ()) -> Recipe:
    """A recipe in whatever way it is given.

    Args:
        given: a Recipe, the name or path that `load_recipe` takes, or nested plain values as YAML has them.
        overrides: as for `load_recipe`.

    Raises:
        XkdError: unknown name, or keys and values that make no recipe.
    """
    if isinstance(given, str | Path):
        return load_recipe(str(given), overrides)
    if isinstance(given, Recipe):
        return given if not overrides else parse_recipe(_overridden(given.model_dump(mode="json"), overrides))
    return parse_recipe(_overridden(given, overrides))


def recipe_text(recipe: Recipe) -> str:
    """A file of one recipe as it was resolved, which `train` takes again."""
    return yaml.safe_dump({"recipe": recipe.model_dump(mode="json", exclude_none=True)}, sort_keys=False)


def _overridden(values: Mapping[str, Any], overrides: Sequence[str]) -> Mapping[str, Any]:
    """Nested values with "key=value" texts applied to them in order."""
    for override in overrides:
        key, separator, text = override.partition("=")
        if not separator or not key:
            raise XkdError(f"overrides: {override!r} found; expected key=value, such as epochs=60")
        values = _with(values, key, _parsed(text, override), f"overrides {override}")
    return values


def _find(name: str) -> tuple[RecipeFile, str | None]:
    path, _, variant = name.partition(".yaml:")
    if name.endswith(".yaml") or variant:
        file = _read(name if not variant else f"{path}.yaml")
        return file, _known_variant(file, variant) if variant else None
    shipped = list(_shipped_names())
    parent, _, last = name.rpartition("/")
    if name in shipped:
        return _read(name), None
    if parent in shipped:
        file = _read(parent)
        return file, _known_variant(file, last)
    known = [recipe for file in shipped_files() for recipe in [file.name, *file.names()]]
    raise XkdError(f"recipe: {name!r} is unknown; {_few(name, known)}; `xkd-distill recipes` lists all")


def _known_variant(file: RecipeFile, variant: str) -> str:
    if variant not in file.variants:
        raise XkdError(f"recipe: {file.name!r} has no variant {variant!r}; {nearest(variant, list(file.variants))}")
    return variant


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
    common, variants = content.get("recipe") or {}, content.get("variants") or {}
    if content.get("extends"):
        base = _read(content["extends"])
        common = _merged(base.common, common)
        variants = {
            variant: {**base.variants.get(variant, {}), **(variants.get(variant) or {})}
            for variant in [*base.variants, *variants]
        }
    return RecipeFile(
        name, content.get("description", ""), common, {variant: keys or {} for variant, keys in variants.items()}
    )


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
    if isinstance(values, list | tuple):
        methods = [str(item.get("method")) if isinstance(item, Mapping) else "" for item in values]
        # A method of one's own has dots in its name: py:package.module:Class.
        head = next((name for name in methods if f"{key}.".startswith(f"{name}.")), key.partition(".")[0])
        rest = key.removeprefix(head).removeprefix(".")
        if head not in methods:
            raise XkdError(f"{source}: no method {head!r} among the losses of the recipe; {nearest(head, methods)}")
        place = methods.index(head)
        return [*values[:place], _with(values[place], rest, value, source) if rest else value, *values[place + 1 :]]
    head, _, rest = key.partition(".")
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
