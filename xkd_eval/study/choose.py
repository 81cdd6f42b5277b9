"""Explainers and tests as a user spells them: "integrated_gradients:steps=200", "perturbation:fill=blur"."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, TypeVar

from xkd_eval.arguments import fields_taken, one_or_more
from xkd_eval.errors import XkdError
from xkd_eval.evaluations import TESTS, option_names
from xkd_eval.evaluations.base import LABEL_SETS, NEEDS, Evaluation
from xkd_eval.evaluations.guard import check_kind, check_made, owed
from xkd_eval.evaluations.protocol import Rules
from xkd_eval.explainers import Explainer, as_explainer
from xkd_eval.explainers.cam import Cam
from xkd_eval.explainers.stored import StoredMaps
from xkd_eval.registry import name_and_rest, nearest
from xkd_eval.study.options import RunOptions
from xkd_eval.study.summary import RESERVED
from xkd_eval.written import written_options

T = TypeVar("T")

TestLike = str | type[Evaluation] | Evaluation
"""A test by name, with options where wanted ("perturbation:fill=blur"); as a class; or as it is to be run."""


CORE = "core"
"""Stands for the tests that a paper's table needs, as far as models and data have what they need."""


def explainers_of(given: Sequence[str | Explainer], rules: Rules, options: RunOptions) -> dict[str, Explainer]:
    """Explainers by name, under the rules; of several of one name each goes by the name as it was spelt.

    Args:
        given: as a user spells them, or made.
        rules: that say how the CAM is reduced.
        options: with the seed, or with stored maps that stand in for an explainer.

    Raises:
        XkdError: none, an unknown name or option; stored maps beside an explainer.
    """
    if options.maps is not None:
        if list(given) != ["cam"]:
            raise XkdError("maps: scores maps computed elsewhere; it cannot be combined with `explainer`")
        return {StoredMaps.name: StoredMaps(Path(options.maps))}
    found: list[tuple[str, str, Explainer]] = []
    for method in given:
        made = _explainer(method, rules, options) if isinstance(method, str) else as_explainer(method)
        if all(made != other for _, _, other in found):
            spelt = method if isinstance(method, str) else f"{made.name}:{_spelt_options(made)}"
            found.append((made.name, spelt, made))
    if not found:
        raise XkdError("explainer: none given; expected names that `xkd-eval explainers` lists")
    return _by_name("explainer", found)


def check_stored(tests: Mapping[str, Evaluation], explainers: Mapping[str, Explainer]) -> None:
    """Raise XkdError for maps that were computed elsewhere, where a test needs others than of these images."""
    asking = [name for name, test in tests.items() if test.explains_again]
    if asking and any(isinstance(explainer, StoredMaps) for explainer in explainers.values()):
        raise XkdError(
            f"maps: {asking[0]} needs maps of images, classes or networks of its own making, and none of those are "
            "stored; give an `explainer`, or leave the test out"
        )


def _spelt_options(explainer: Explainer) -> str:
    return ",".join(f"{name}={value}" for name, value in explainer.parameters().items())


def _explainer(text: str, rules: Rules, options: RunOptions) -> Explainer:
    """By name; the rules say how the CAM is reduced, and the run which seed, unless the user does behind the name."""
    made, written = as_explainer(text), name_and_rest(text)[1]
    if isinstance(made, Cam) and "reduction" not in written:
        made = replace(made, reduction=rules.cam_channels)
    return made if "seed" in written else made.seeded(options.seed)


def one_or_several(argument: str, given: Any, single: tuple[type, ...]) -> list[Any]:
    """One or several as a list.

    Args:
        argument: its name, for the message.
        given: by the user.
        single: the types of one.

    Raises:
        XkdError: neither one nor several.
    """
    return one_or_more(given, single, argument, "a name, or several", f"`xkd-eval {argument}` lists names")


def read_options(
    given: Mapping[str, Any], tests: Sequence[TestLike], beside: Sequence[str] = ()
) -> tuple[RunOptions, dict[str, Any]]:
    """Keyword arguments as RunOptions, and those of the tests that are run.

    Args:
        given: what a function does not name itself.
        tests: that are run.
        beside: what it does name, for the message.

    Raises:
        XkdError: one that nothing reads, which would be a silent wrong number; another test that would is named, or the
            nearest option.
    """
    own = {field.name for field in fields(RunOptions)}
    taken = [name for test in tests for name in options_of(test)]
    for name in given:
        if name in own or name in taken:
            continue
        if others := [test for test, kind in TESTS.items() if name in option_names(kind)]:
            raise XkdError(f"{name}: none of the tests takes it, as {' and '.join(others)} would; leave it out")
        raise XkdError(f"{name}: unknown option; {nearest(name, [*beside, *sorted(own), *taken], limit=40)}")
    run = RunOptions(**{name: value for name, value in given.items() if name in own})
    return run, {name: value for name, value in given.items() if name not in own}


def options_of(test: TestLike) -> list[str]:
    """The options that a test takes beside RunOptions; of the core, none but behind a name of its own."""
    if test == CORE:
        return []
    return list(option_names(_kind(test)))


def without_core(
    given: Sequence[TestLike], offered: Collection[str], *, stored: bool = False
) -> tuple[list[TestLike], list[str]]:
    """The tests with those that "core" stands for in its place, but for those that are also named themselves.

    Args:
        given: as a user spells them.
        offered: of `NEEDS`, what models and data have.
        stored: whether maps were computed elsewhere, so that none can be made of other images or classes.

    Returns:
        The tests; and a sentence for each of the core that is left out.

    Raises:
        XkdError: the core alone was asked for, and nothing of it can be run.
    """
    found: list[TestLike] = []
    left_out: list[str] = []
    named = _named(given)
    for test in given:
        if test != CORE:
            found.append(test)
            continue
        for name, kind in TESTS.items():
            if not kind.is_core or kind in named:
                continue
            spelt = kind.suited(offered)
            if LABEL_SETS in offered and not kind.takes_label_sets:
                left_out.append(f"{name} is left out: it takes one label a photograph, and these have several")
            elif spelt is None:
                needs = [need for need in NEEDS if getattr(kind, f"needs_{need}") and need not in offered]
                left_out.append(f"{name} is left out: it needs {' and '.join(needs)}")
            elif stored and kind.explains_again:
                left_out.append(f"{name} is left out: it needs maps of other images or classes than those stored")
            else:
                found.append(f"{name}:{spelt}" if spelt else name)
    if left_out and not found:
        raise XkdError(f"tests: nothing of the core can be run; {'; '.join(left_out)}")
    return found, left_out


def is_suited(kind: type[Evaluation], offered: Collection[str]) -> bool:
    """Whether a study offers what a test needs, and means something to it."""
    return kind.suited(offered) is not None and (LABEL_SETS not in offered or kind.takes_label_sets)


def compared_kinds(offered: Collection[str] | None = None) -> list[type[Evaluation]]:
    """The tests that stand in comparisons; with what is offered, those of them that are suited."""
    known = [kind for _, kind in TESTS.items() if kind.in_comparisons]
    return known if offered is None else [kind for kind in known if is_suited(kind, offered)]


def core_of(given: Sequence[TestLike], tests: Mapping[str, Evaluation]) -> set[str]:
    """The names of tests that "core" brought with it, which may be left out; none where it was not asked for."""
    if CORE not in given:
        return set()
    named = _named(given)
    return {name for name, test in tests.items() if test.is_core and type(test) not in named}


def tests_of(given: Sequence[TestLike], rules: Rules, options: Mapping[str, Any]) -> dict[str, Evaluation]:
    """Tests by name, under the rules; of several of one name each goes by the name as it was spelt.

    Args:
        given: as a user spells them.
        rules: that all share.
        options: of all tests that take them; what is spelt behind a name comes first.

    Raises:
        XkdError: none, an unknown name, a value that an option does not take, or a test that says less of itself or
            its scores than a study needs.
    """
    found: list[tuple[str, str, Evaluation]] = []
    for test in given:
        if isinstance(test, Evaluation):
            made = test
            check_made(made, RESERVED)
            _check_rules(made, rules)
            spelt = f"{made.name}:{made.protocol.hash}"
        else:
            kind, own = _spelt(test)
            known = {name: value for name, value in options.items() if name in option_names(kind)}
            with owed(kind, "its Options"):
                chosen = kind.Options(**fields_taken(kind.Options, {**known, **own}))
            made = kind.create(rules, chosen)
            check_made(made, RESERVED)
            spelt = test if isinstance(test, str) else kind.name
        if not any(_is_same(made, other) for _, _, other in found):
            found.append((made.name, spelt, made))
    if not found:
        raise XkdError(f"tests: none given; expected some of {', '.join(TESTS.names())}")
    return _by_name("tests", found)


def _is_same(test: Evaluation, other: Evaluation) -> bool:
    """Whether two tests ask the same."""
    if type(test) is not type(other):
        return False
    return (test.protocol, test.settings()) == (other.protocol, other.settings())


def _check_rules(test: Evaluation, rules: Rules) -> None:
    """A test that was made under other rules than the study's would be recorded under rules that nobody followed."""
    # Of photographs with several labels each is explained, by a test that was made to.
    own = () if rules.probability == "softmax" else ("target", "probability")
    for name in ("preprocess", "cam_channels", *own):
        ours, theirs = getattr(rules, name), getattr(test.protocol, name)
        if ours != theirs:
            raise XkdError(
                f"tests: {test.name} was made for {name} {theirs!r}, and the study has {ours!r}; give it the same "
                "`protocol`, input and kind of labels, or name the test instead"
            )


def _by_name(argument: str, found: Sequence[tuple[str, str, T]]) -> dict[str, T]:
    """(name, spelling, thing) by name; of several of one name each by its spelling.

    Raises:
        XkdError: two are spelt alike, which tables could not tell apart.
    """
    names = Counter(name for name, _, _ in found)
    chosen: dict[str, T] = {}
    for name, spelt, thing in found:
        called = name if names[name] == 1 else spelt
        if called in chosen:
            raise XkdError(f"{argument}: two different ones are called {called!r}; give one another name")
        chosen[called] = thing
    return chosen


def _named(given: Sequence[TestLike]) -> set[type[Evaluation]]:
    """The kinds that are asked for by themselves."""
    return {_kind(test) for test in given if test != CORE}


def _kind(test: TestLike) -> type[Evaluation]:
    return type(test) if isinstance(test, Evaluation) else _spelt(test)[0]


def _spelt(test: str | type[Evaluation]) -> tuple[type[Evaluation], dict[str, Any]]:
    if isinstance(test, type):
        if not issubclass(test, Evaluation):
            raise XkdError(f"tests: the class {test.__name__} found; expected a subclass of xkd_eval.Evaluation")
        check_kind(test)
        return test, {}
    name, text = name_and_rest(test)
    kind = TESTS[name]
    return kind, written_options(kind.Options, text, f"tests {name}")
