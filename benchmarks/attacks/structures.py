"""Hypothesis: typed documents with a value of another kind, and keys that are dropped, added or doubled; odd values."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import hypothesis
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

DROPPED, ADDED, DOUBLED, REPLACED = "dropped", "added", "doubled", "replaced"

_ODD: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    1,
    -1,
    3.7,
    math.nan,
    math.inf,
    -math.inf,
    1e308,
    2**31,
    2**63,
    10**400,
    "",
    " ",
    ".",
    "..",
    "../../x",
    "/dev/full",
    "x" * 300,
    "a\0b",
    "a\nb",
    "é" * 120,
    "\u202e",
    "=1+1",
    "nan",
    "1",
    "0.5",
    "null",
    "yes",
    "{",
    "py:os.path:join",
    [],
    {},
    [None],
    [[]],
    [1, 2],
    [1, 2, 3],
    [0.5, 0.5, 0.5],
    [0, 0, 0],
    {"": 1},
    {"name": "x"},
    {"__class__": "x"},
)


class Pairs(list):
    """A mapping as pairs, in which a key may stand twice."""


@cache
def plain_values() -> st.SearchStrategy[Any]:
    """Whatever JSON or YAML may hold, odd values first, nested a little."""
    texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
    leaves = st.one_of(st.sampled_from(_ODD), st.integers(-(2**70), 2**70), st.floats(), texts, st.booleans())
    return st.recursive(
        leaves,
        lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(texts, inner, max_size=4)),
        max_leaves=6,
    )


@cache
def _of_another_kind(kind: type) -> st.SearchStrategy[Any]:
    return plain_values().filter(lambda found: type(found) is not kind)


@cache
def _keys() -> st.SearchStrategy[Any]:
    return st.one_of(st.sampled_from(("x", "", 1, None, True)), st.text(max_size=6))


@st.composite
def mutated_documents(draw: st.DrawFn, document: Any, doubles: bool = True, most: int = 3) -> tuple[Any, str]:
    """A document with up to `most` places changed, and what was changed.

    Args:
        draw: of Hypothesis.
        document: nested plain values.
        doubles: whether keys may be doubled, which texts can and values cannot.
        most: changes at once.
    """
    told = []
    for _ in range(draw(st.sampled_from((1, 1, 1, *range(1, most + 1))))):
        path = draw(st.sampled_from(list(_paths(document))))
        document, what = _changed(draw, document, path, doubles)
        told.append(f"{'.'.join(map(str, path)) or 'all'} {what}")
    return document, ", ".join(told)


def drawn(strategy: st.SearchStrategy[Any], seed: int, count: int) -> list[Any]:
    """Values of a strategy, the same for the same seed."""
    found: list[Any] = []
    while len(found) < count:

        @hypothesis.seed(seed + 7_919 * len(found))
        @settings(
            max_examples=count,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @hypothesis.given(strategy)
        def collect(value: Any) -> None:
            found.append(value)

        collect()
    return found[:count]


def as_text(value: Any, *, yaml: bool = False) -> str:
    """JSON, or YAML in its flow style; pairs as a mapping, whatever their keys."""
    if isinstance(value, Pairs | Mapping):
        pairs = value if isinstance(value, Pairs) else value.items()
        return "{" + ", ".join(f"{_key(key, yaml)}: {as_text(item, yaml=yaml)}" for key, item in pairs) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(as_text(item, yaml=yaml) for item in value) + "]"
    if yaml and isinstance(value, float) and not math.isfinite(value):
        return ".nan" if math.isnan(value) else ".inf" if value > 0 else "-.inf"
    if yaml and isinstance(value, int) and abs(value) > 10**100:
        return "1" + "0" * 400
    return json.dumps(value, ensure_ascii=False)


def sealed(values: Any) -> Any:
    """A document of this project with a digest that fits what it holds now, so that a reader looks further."""
    if not isinstance(values, dict) or "digest" not in values:
        return values
    others = {key: value for key, value in values.items() if key != "digest"}
    try:
        told = json.dumps(json.loads(as_text(others)), sort_keys=True)
    except (ValueError, TypeError):  # no JSON value
        return values
    return {**others, "digest": hashlib.sha256(told.encode(errors="surrogatepass")).hexdigest()}


def _key(key: Any, yaml: bool) -> str:
    return as_text(key, yaml=yaml) if yaml and not isinstance(key, list | dict) else json.dumps(str(key))


def _paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The place of every value of a document, outer ones more often."""
    yield path
    inner = (
        value
        if isinstance(value, Pairs)
        else value.items()
        if isinstance(value, Mapping)
        else enumerate(value)
        if isinstance(value, list | tuple)
        else ()
    )
    for key, item in inner:
        yield from _paths(item, (*path, key))
        if not path:
            yield (key,)


def _changed(draw: st.DrawFn, value: Any, path: tuple[Any, ...], doubles: bool) -> tuple[Any, str]:
    if path:
        key, rest = path[0], path[1:]
        if isinstance(value, Pairs):
            place = next((k for k, (name, _) in enumerate(value) if name == key), None)
            if place is None:
                return value, "gone"
            inner, what = _changed(draw, value[place][1], rest, doubles)
            return Pairs([*value[:place], (key, inner), *value[place + 1 :]]), what
        if isinstance(value, Mapping) and key in value:
            inner, what = _changed(draw, value[key], rest, doubles)
            return {**value, key: inner}, what
        if isinstance(value, list | tuple) and isinstance(key, int) and key < len(value):
            inner, what = _changed(draw, value[key], rest, doubles)
            return [*value[:key], inner, *value[key + 1 :]], what
        return value, "gone"
    if isinstance(value, Mapping) and value:
        change = draw(st.sampled_from((REPLACED, DROPPED, DROPPED, ADDED, *([DOUBLED] if doubles else []))))
        if change == DROPPED:
            key = draw(st.sampled_from(sorted(value, key=repr)))
            return {name: item for name, item in value.items() if name != key}, f"without {key!r}"
        if change == ADDED:
            key = draw(_keys())
            return {**value, key: draw(plain_values())}, f"with {key!r} added"
        if change == DOUBLED:
            key = draw(st.sampled_from(sorted(value, key=repr)))
            return Pairs([*value.items(), (key, draw(plain_values()))]), f"with {key!r} doubled"
    other = draw(_of_another_kind(type(value)))
    return other, f"replaced by {other!r:.60}"
