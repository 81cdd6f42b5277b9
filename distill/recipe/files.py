"""Recipe files: common keys, and named variants that change some of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from distill.recipe.fields import Strict
from distill.recipe.parse import parse_recipe
from distill.recipe.schema import Recipe
from distill.recipe.yaml_text import parse_yaml, read_yaml, yaml_text
from xkd_eval.arguments import public
from xkd_eval.errors import XkdError
from xkd_eval.foreign import is_writable_name, parsed, short
from xkd_eval.registry import nearest

# A mapping in which one of these differs is another kind of thing: it replaces the former one whole.
_KINDS = ("name", "loader")
_MOST_LISTED = 12
_LONGEST_KEY = 300  # characters; each dot of one is a call within a call
# Two names of a teacher: giving the one takes the other back.
_RIVALS = {"recipe": ("model",), "model": ("recipe",)}


class _Content(Strict):
    """What stands in a recipe file; a key without a value is as good as absent.

    Attributes:
        description: one line.
        extends: the file, by the name that `load_recipe` takes, whose keys and variants this one changes.
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


@public()
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
        names = file.names() if len(file.variants) <= _MOST_LISTED else [*file.names()[:_MOST_LISTED], "..."]
        raise XkdError(f"recipe: {short(name)} has {len(file.variants)} variants; name one: {', '.join(names)}")
    values: Mapping[str, Any] = file.common
    for key, value in (file.variants[variant] if variant is not None else {}).items():
        values = _changed(values, key, value, name)
    return parse_recipe(_overridden(values, overrides), name)


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
    return parse_recipe(_overridden(values, overrides))


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


def _overridden(values: Mapping[str, Any], overrides: Sequence[str]) -> Mapping[str, Any]:
    """Nested values with "key=value" texts applied to them in order."""
    if not isinstance(overrides, list | tuple) or not all(isinstance(override, str) for override in overrides):
        raise XkdError(f"overrides: {short(overrides)} found; expected a list of texts, such as ['epochs=60']")
    for override in overrides:
        key, separator, text = override.partition("=")
        if not separator or not key:
            raise XkdError(f"overrides: {short(override)} found; expected key=value, such as epochs=60")
        value = parse_yaml(text, f"overrides: the value of {short(override)}")
        values = _changed(values, key, value, f"overrides {short(override)}")
    return values


def _find(name: str) -> tuple[RecipeFile, str | None]:
    if not isinstance(name, str):
        raise XkdError(f"recipe: {short(name)} found; expected a recipe's name, or a file's")
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


def _read(name: str, extending: tuple[Path, ...] = ()) -> RecipeFile:
    """A file after its `extends`; `extending` are those that led to it."""
    path = Path(name) if name.endswith(".yaml") else Path(str(files("distill") / "recipes")) / f"{name}.yaml"
    content = parsed(_Content, read_yaml(path, "recipe"), f"recipe: {short(str(path))}")
    common = content.recipe or {}
    variants = {variant: keys or {} for variant, keys in (content.variants or {}).items()}
    for variant in variants:
        if not is_writable_name(variant):  # its runs lie in a directory of that name
            raise XkdError(f"recipe: {short(str(path))} has a variant {short(variant)}; expected a name without '/'")
    if content.extends:
        if path.resolve() in extending:
            raise XkdError(f"recipe: {short(str(path))} extends itself; mend `extends`")
        base = _read(content.extends, (*extending, path.resolve()))
        common = _merged(base.common, common)
        variants = {
            variant: {**base.variants.get(variant, {}), **variants.get(variant, {})}
            for variant in [*base.variants, *variants]
        }
    return RecipeFile(name, content.description or "", common, variants)


def _merged(base: Any, change: Any) -> Any:
    if not isinstance(base, Mapping) or not isinstance(change, Mapping):
        return change
    if any(kind in change and change[kind] != base.get(kind) for kind in _KINDS):
        return change
    kept = {key: value for key, value in base.items() if not _taken_back(key, change)}
    return {**kept, **{key: _merged(base.get(key), value) for key, value in change.items()}}


def _taken_back(key: str, change: Mapping[str, Any]) -> bool:
    return any(key in _RIVALS.get(given, ()) and value is not None for given, value in change.items())


def _changed(values: Mapping[str, Any], key: str, value: Any, source: str) -> Mapping[str, Any]:
    if len(key) > _LONGEST_KEY:
        raise XkdError(f"{source}: {short(key)} has {len(key)} characters; expected a key of the recipe")
    return _with(values, key, value, source)


def _with(values: Any, key: str, value: Any, source: str) -> Any:
    """A copy of nested values with the one at a dotted key merged with `value`; losses go by their method's name."""
    if isinstance(values, list | tuple):
        methods = [str(item.get("method")) if isinstance(item, Mapping) else "" for item in values]
        # A method of one's own has dots in its name: py:package.module:Class.
        head = next((name for name in methods if f"{key}.".startswith(f"{name}.")), key.partition(".")[0])
        rest = key.removeprefix(head).removeprefix(".")
        if head not in methods:
            raise XkdError(
                f"{source}: no method {short(head)} among the losses of the recipe; {nearest(head, methods)}"
            )
        place = methods.index(head)
        return [*values[:place], _with(values[place], rest, value, source) if rest else value, *values[place + 1 :]]
    head, _, rest = key.partition(".")
    if not isinstance(values, Mapping):
        values = {}
    if rest:
        return {**values, head: _with(values.get(head), rest, value, source)}
    return _merged(values, {head: value})
