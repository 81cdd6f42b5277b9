"""How keys change a recipe: a file those of the one that it extends, a variant those of its file, overrides all.

One rule for all: what comes later wins, key by key. A mapping of another kind, as `data` under another `loader`, keeps
what its new kind reads as well; what that does not read goes if it is a file's, and is refused if an override gave it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import cache
from typing import Any, get_args

from distill.recipe.schema import Recipe
from distill.recipe.yaml_text import parse_yaml
from xkd_eval.errors import XkdError
from xkd_eval.foreign import short
from xkd_eval.registry import nearest

_LONGEST_KEY = 300  # characters; each dot of one is a call within a call
# Giving the one takes the other back: two names of a teacher; one teacher, and several.
_TEACHERS_NAMES, _TEACHERS = ("recipe", "model"), ("teacher", "teachers")
# What belongs to one network, and not to another that takes its place.
_OF_A_STUDENT, _OF_A_MODEL = ("arguments", "weights", "freeze"), ("arguments", "weights", "preprocess", "stored")


def overridden(values: Mapping[str, Any], overrides: Sequence[str]) -> Mapping[str, Any]:
    """Nested values with "key=value" texts applied to them in order.

    Raises:
        XkdError: no such text, no YAML behind the "=", or a loss that is not there.
    """
    if not isinstance(overrides, list | tuple) or not all(isinstance(override, str) for override in overrides):
        raise XkdError(f"overrides: {short(overrides)} found; expected a list of texts, such as ['epochs=60']")
    given: set[str] = set()
    for override in overrides:
        key, separator, text = override.partition("=")
        if not separator or not key:
            raise XkdError(f"overrides: {short(override)} found; expected key=value, such as epochs=60")
        value = parse_yaml(text, f"overrides: the value of {short(override)}")
        values = changed(values, key, value, f"overrides {short(override)}", given)
        given |= {key, *(f"{key}.{inner}" for inner in (value if isinstance(value, dict) else ()))}
    return values


def changed(
    values: Mapping[str, Any], key: str, value: Any, source: str, given: Collection[str] = ()
) -> Mapping[str, Any]:
    """A copy of nested values with the one at a dotted key merged with `value`.

    Args:
        values: of a recipe.
        key: "data.path"; a loss goes by its name, or else by its method: "losses.kd.weight".
        value: plain.
        source: whose key it is, for the messages.
        given: dotted keys that overrides have set before, which nothing takes back in silence.

    Raises:
        XkdError: no such loss, or several of the name.
    """
    if len(key) > _LONGEST_KEY:
        raise XkdError(f"{source}: {short(key)} has {len(key)} characters; expected a key of the recipe")
    return _with(values, key, value, source, "", given)


def merged(base: Any, change: Any, place: str = "", given: Collection[str] = ()) -> Any:
    """Nested values with others over them, key by key; anything but a mapping is replaced whole.

    Args:
        base, change: plain values.
        place: the dotted key at which both stand, "" for a whole recipe.
        given: see `changed`.
    """
    if not isinstance(base, Mapping) or not isinstance(change, Mapping):
        return change
    kept = _kept(base, change, place, given)
    return {**kept, **{key: merged(kept.get(key), value, _joined(place, key), given) for key, value in change.items()}}


def entry_of(entries: Sequence[Any], key: str) -> tuple[int, str] | None:
    """Which of a list of losses a dotted key leads to, and what it is called there; None for none of them.

    A loss is called by its `name`; by its `method`, where it has none or no other is of that method.

    Raises:
        XkdError: several are called so.
    """
    named = [entry if isinstance(entry, Mapping) else {} for entry in entries]
    methods = [str(entry.get("method") or "") for entry in named]
    for labels in ([str(entry.get("name") or method) for entry, method in zip(named, methods, strict=True)], methods):
        # A method of one's own has dots in its name: py:package.module:Class.
        found = max((label for label in labels if label and f"{key}.".startswith(f"{label}.")), key=len, default=None)
        if found is not None and labels.count(found) > 1:
            raise XkdError(f"losses: {short(found)} stands for {labels.count(found)} of them; give each a `name`")
        if found is not None:
            return labels.index(found), found
    return None


def _with(values: Any, key: str, value: Any, source: str, place: str, given: Collection[str]) -> Any:
    if isinstance(values, list | tuple):
        return _with_entry(values, key, value, source, place, given)
    head, _, rest = key.partition(".")
    if not isinstance(values, Mapping):
        values = {}
    if rest:
        values = _kept(values, {head: {}}, place, given)
        return {**values, head: _with(values.get(head), rest, value, source, _joined(place, head), given)}
    return merged(values, {head: value}, place, given)


def _with_entry(
    entries: Sequence[Any], key: str, value: Any, source: str, place: str, given: Collection[str]
) -> list[Any]:
    found = entry_of(entries, key)
    if found is None:
        known = [str(entry.get("name") or entry.get("method")) for entry in entries if isinstance(entry, Mapping)]
        head = key.partition(".")[0]
        raise XkdError(f"{source}: no method {short(head)} among the losses of the recipe; {nearest(head, known)}")
    index, label = found
    entry, inner = entries[index], _joined(place, label)
    if rest := key.removeprefix(label).removeprefix("."):
        entry = _with(entry, rest, value, source, inner, given)
    elif isinstance(value, Mapping) and value.get("method", entry.get("method")) == entry.get("method"):
        entry = merged(entry, value, inner, given)
    else:
        entry = value
    return [*entries[:index], entry, *entries[index + 1 :]]


def _joined(place: str, key: str) -> str:
    return f"{place}.{key}" if place else key


def _kept(base: Mapping[str, Any], change: Mapping[str, Any], place: str, given: Collection[str]) -> dict[str, Any]:
    """What stays of former values beside a change: of a mapping that goes what overrides have given."""
    kept = {}
    for key, value in base.items():
        if not _goes(key, base, change, place, given):
            kept[key] = value
        elif isinstance(value, Mapping):
            inner = {name: one for name, one in value.items() if _is_given(_joined(_joined(place, key), name), given)}
            kept |= {key: inner} if inner else {}
    return kept


def _is_given(key: str, given: Collection[str]) -> bool:
    """Whether overrides have given a dotted key, or one within it."""
    return any(f"{other}.".startswith(f"{key}.") for other in given)


def _goes(key: str, base: Mapping[str, Any], change: Mapping[str, Any], place: str, given: Collection[str]) -> bool:
    """Whether a change takes a key of the former values back, instead of merging with it."""
    is_given = _is_given(_joined(place, key), given)
    if _is_of_another_network(key, base, change, place):
        return not is_given or isinstance(base[key], Mapping)  # of which what was given stays
    if key in change:
        return False
    if not place and key in _TEACHERS and any(change.get(other) is not None for other in _TEACHERS):
        return not is_given
    if place.partition(".")[0] in _TEACHERS and key in _TEACHERS_NAMES:
        return any(change.get(name) is not None for name in _TEACHERS_NAMES)
    field, kinds = _kinds().get(place, ("", {}))
    former, now = base.get(field), change.get(field)
    if now == former or not isinstance(former, str) or not isinstance(now, str) or now not in kinds:
        return False
    # What neither kind reads is a slip of the pen, and said to be one.
    return key not in kinds[now] and key in kinds.get(former, ()) and not is_given


def _is_of_another_network(key: str, base: Mapping[str, Any], change: Mapping[str, Any], place: str) -> bool:
    """Whether a key belongs to a network in whose place a change puts another one."""
    if place == "student":
        return key in _OF_A_STUDENT and change.get("architecture") not in (None, base.get("architecture"))
    if key not in _OF_A_MODEL or place.partition(".")[0] not in _TEACHERS:
        return False
    return any(change.get(name) not in (None, base.get(name)) for name in _TEACHERS_NAMES)


@cache
def _kinds() -> dict[str, tuple[str, dict[str, frozenset[str]]]]:
    """Dotted key of each mapping that is of several kinds -> the key that tells them apart, and what each reads."""
    found: dict[str, tuple[str, dict[str, frozenset[str]]]] = {}
    for place, field in Recipe.model_fields.items():
        if isinstance(tag := field.discriminator, str):
            models = [model for model in get_args(field.annotation) if tag in getattr(model, "model_fields", {})]
            kinds = {
                kind: frozenset(model.model_fields)
                for model in models
                for kind in get_args(model.model_fields[tag].annotation)
            }
            found[place] = tag, kinds
    return found
