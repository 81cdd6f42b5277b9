"""The reference of what is found by name: tests, explainers, losses."""

from __future__ import annotations

import inspect

from distill.methods.registry import METHODS
from docs.site.markdown import code, plain, table
from xkd_eval.evaluations.listing import TestInfo, list_tests
from xkd_eval.explainers import EXPLAINERS

_TESTS = """# Tests

What `--test NAME` takes; `core` stands for all that are marked so. [Metrics](../metrics.md) explains them, with a
picture of what each does to a photograph. An option goes behind the name: `NAME:option=value`."""
_EXPLAINERS = """# Explainers

What `--explainer NAME` takes, and `xkd_eval.create_explainer`. An option goes behind the name:
`integrated_gradients:steps=200`. `xkd-eval inspect MODEL` says which of them hold for a model."""
_LOSSES = """# Losses

What `method` takes in a recipe's `losses`, and `distill.create_method`. Every loss also takes `weight`, `ramp_epochs`,
`schedule`, `name`, and `teacher` where there are several. [Methods](../methods.md) says what each needs and costs."""


def pages() -> dict[str, str]:
    """File name -> Markdown, a page a registry."""
    explainers = [
        (code(name), _signature(kind), plain(kind.cost), plain(kind.citation))
        for name, kind in sorted(EXPLAINERS.items())
    ]
    losses = [(code(name), _signature(kind), plain(kind.citation)) for name, kind in sorted(METHODS.items())]
    return {
        "tests.md": "\n\n".join([_TESTS, *map(_test, list_tests())]) + "\n",
        "explainers.md": f"{_EXPLAINERS}\n\n{table(('name', 'options', 'cost', 'paper'), explainers)}\n",
        "losses.md": f"{_LOSSES}\n\n{table(('name', 'options', 'paper'), losses)}\n",
    }


def _test(test: TestInfo) -> str:
    scores = table(
        ("score", "", "better"),
        [(code(score.name), plain(score.title), score.better or "") for score in test.scores],
    )
    options = table(("option", "default", "or"), [_option(*item) for item in test.options.items()])
    facts = f"{'In the core. ' if test.is_core else ''}Forwards an image: {plain(test.cost)}."
    facts += f" Needs {', '.join(test.needs)}." if test.needs else ""
    return "\n\n".join([f"## {test.name}", plain(test.question), facts, plain(test.citation), scores, options])


def _option(name: str, found: tuple[object, tuple[str, ...]]) -> tuple[str, ...]:
    default, words = found
    return code(name), code(default), ", ".join(map(code, words))


def _signature(kind: type) -> str:
    options = [one for one in inspect.signature(kind).parameters.values() if one.kind is not one.VAR_KEYWORD]
    words = [one.name if one.default is one.empty else f"{one.name}={one.default!r}" for one in options]
    return ", ".join(map(code, words))
