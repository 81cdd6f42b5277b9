"""Arguments of public functions: what is taken for which kind, and that each function refuses what nothing reads."""

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pytest
import torch

import distill
import xkd_eval
from xkd_eval import testing
from xkd_eval.arguments import Within, public, taken
from xkd_eval.classifiers.architectures import build
from xkd_eval.errors import XkdError

WHOLE, SEVERAL = Annotated[int, Within(1)], tuple[float, ...]


@pytest.mark.parametrize(
    ("hint", "value", "expected"),
    [
        (int, np.int64(3), 3),
        (float, 3, 3.0),
        (float, np.float32(0.5), 0.5),
        (Path, "a", Path("a")),
        (str | Path, "a", "a"),
        (Path | None, None, None),
        (SEVERAL, [1, 0.5], (1.0, 0.5)),
        (SEVERAL, np.array([0.5]), (0.5,)),
        (SEVERAL, (number / 2 for number in range(2)), (0.0, 0.5)),
        (int | tuple[int, int], [3, 4], (3, 4)),
        (Literal["a", "b"], "b", "b"),
        (Callable[[], None], print, print),
        (torch.Tensor, "what a function checks itself", "what a function checks itself"),
    ],
)
def test_values_are_taken_as_their_annotation_has_them(hint, value, expected):
    found = taken("name", value, hint)
    assert found == expected and type(found) is type(expected)


@pytest.mark.parametrize(
    ("hint", "value", "message"),
    [
        (int, True, "True found; expected a whole number"),
        (int, 3.0, "3.0 found; expected a whole number"),
        (int | None, "3", "'3' found; expected a whole number"),
        (WHOLE, 0, "0 found; expected a whole number of at least 1"),
        (Annotated[int, Within(0, 9)], 10, "10 found; expected a whole number from 0 to 9"),
        (float, float("nan"), "nan found; expected a number"),
        (float, float("inf"), "inf found; expected a number"),
        (float, 10**400, f"1{'0' * 17}...{'0' * 19} found; expected a number"),
        (float, np.bool_(True), "np.True_ found; expected a number"),
        (bool, 1, "1 found; expected True or False"),
        (str, b"x", "b'x' found; expected a text"),
        (Path, "", "'' found; expected a path"),
        (str | Path, "\0", r"'\x00' found; expected a text or a path"),
        (Literal["a", "b"], "c", "unknown value 'c'; expected one of a, b"),
        (Literal["a", "b"], ["a"], "['a'] found; expected one of a, b"),
        (SEVERAL, 0.5, "0.5 found; expected numbers"),
        (SEVERAL, "0.5", "'0.5' found; expected numbers"),
        (SEVERAL, [0.5, None], "[0.5, None] found; expected numbers"),
        (SEVERAL, torch.tensor(1.0), "tensor(1.) found; expected numbers"),
        (int | tuple[int, int], (1, 2, 3), "(1, 2, 3) found; expected a whole number or 2 whole numbers"),
        (Sequence[str], "abc", "'abc' found; expected texts"),
        (Callable[[], None], 3, "3 found; expected a function"),
    ],
)
def test_values_of_another_kind_are_refused_in_one_sentence(hint, value, message):
    with pytest.raises(XkdError) as caught:
        taken("name", value, hint)
    assert str(caught.value) == f"name: {message}"


def test_errors_from_beneath_name_the_functions_own_argument():
    @public(model="models")
    def several(models: list, *, limit: WHOLE = 1) -> None:
        raise XkdError("model: none such; see `model`")

    with pytest.raises(XkdError, match=r"^models: none such; see `models`$"):
        several([])
    with pytest.raises(XkdError, match=r"^limit: 0 found"):
        several([], limit=0)
    with pytest.raises(TypeError, match="models"):
        several()


FUNCTIONS = [
    *(thing for name in xkd_eval.__all__ if inspect.isfunction(thing := getattr(xkd_eval, name))),
    *(testing.check_dataset, testing.check_explainer, testing.check_test, build),
    *(distill.train, distill.load_recipe, xkd_eval.Study.result, xkd_eval.Comparison.write),
    *(
        xkd_eval.Explanation.plot,
        xkd_eval.EvaluationResult.read,
        xkd_eval.RunOptions,
        xkd_eval.Preprocess,
        xkd_eval.ScoreSpec,
    ),
]
# Whatever stands for a required argument must not be looked at before the unknown keyword is.
FITTING = {
    **{"model": "embedded/kd", "models": ["embedded/teacher", "embedded/kd"], "name": "cam", "num_classes": 3},
    **{"baseline": "embedded/teacher", "candidate": "embedded/kd", "runs": "runs"},
    **{"features": torch.zeros(1, 2, 3, 3), "head_weight": torch.zeros(4, 2), "path": "embedded"},
}


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__qualname__)
@pytest.mark.parametrize("value", ["gradcam", None])
def test_no_function_swallows_a_keyword_that_nothing_reads(function, value):
    required = {
        name: FITTING.get(name)
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.default is parameter.empty and parameter.kind is not parameter.VAR_KEYWORD
    }
    if function is build:
        required["name"] = "resnet20"
    if function is xkd_eval.load_classifier and value is None:
        pytest.skip("None keeps what the model has")
    with pytest.raises((XkdError, TypeError), match="explaner"):
        function(**required, explaner=value)


@pytest.mark.parametrize(
    ("function", "wrong", "meant"),
    [
        (xkd_eval.explain, "explaner", "explainer"),
        (xkd_eval.overlay, "colourmap", "colormap"),
        (xkd_eval.evaluate, "explainer", "explainers"),
        (xkd_eval.perturbation_test, "fraction", "fractions"),
        (xkd_eval.compare, "explainers", "explainer"),
        (xkd_eval.open_dataset, "label", "labels"),
        (distill.train, "override", "overrides"),
    ],
)
def test_the_keyword_that_was_meant_is_named(function, wrong, meant):
    with pytest.raises(XkdError, match=rf"^{wrong}: unknown .*; nearest: .*\b{meant}\b"):
        function(*[FITTING["models"]] * (function is not xkd_eval.open_dataset), **{wrong: None})


@pytest.mark.parametrize(
    ("given", "hint", "expected"),
    [
        (np.bool_(True), bool, True),
        (torch.tensor(3), int, 3),
        (torch.tensor([0.25, 0.5]), tuple[float, ...], (0.25, 0.5)),
    ],
)
def test_numbers_of_libraries_are_python_s(given, hint, expected):
    found = taken("x", given, hint)
    assert found == expected and type(found) is type(expected)


def test_bounded_numbers_in_a_tuple_are_said_in_a_sentence():
    side = Annotated[int, Within(1, 32)]
    with pytest.raises(XkdError, match=r"expected a whole number from 1 to 32 or 2 whole numbers from 1 to 32$"):
        taken("size", "x", side | tuple[side, side])
