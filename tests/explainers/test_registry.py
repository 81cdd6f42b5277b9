"""Names, options and citations; tests/test_startup.py says what listing them imports."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import pytest

from xkd_eval.errors import XkdError
from xkd_eval.explainers import (
    EXPLAINERS,
    Explainer,
    as_explainer,
    create_explainer,
    list_explainers,
    register_explainer,
)
from xkd_eval.explainers.inspection import inspect_classifier
from xkd_eval.testing import small_classifier

NAMES = {
    *("cam", "gradcam", "gradcam++", "xgradcam", "layercam", "hirescam", "eigencam", "eigengradcam", "scorecam"),
    *("ablationcam", "fullgrad", "saliency", "input_x_gradient", "integrated_gradients", "gradient_shap", "deeplift"),
    *("guided_backprop", "guided_gradcam", "occlusion", "feature_ablation", "rise", "attention_rollout"),
    *("transformer_attribution", "random", "centre", "edges", "fake_cam", "oracle"),
}


@pytest.fixture(autouse=True)
def _forgotten(monkeypatch):
    """What a test registers is unknown to the next."""
    EXPLAINERS.names()
    monkeypatch.setattr(EXPLAINERS, "_known", dict(EXPLAINERS._known))


def test_all_are_known_and_cited():
    listed = [explainer for explainer in list_explainers() if EXPLAINERS.is_own(explainer.name)]
    assert {explainer.name for explainer in listed} == NAMES
    assert all(explainer.citation and explainer.cost for explainer in listed)
    assert [create_explainer(name).name for name in sorted(NAMES)] == sorted(NAMES)


def test_unknown_name_gets_the_nearest():
    with pytest.raises(XkdError, match=r"unknown 'grad-cam'; nearest: .*gradcam"):
        create_explainer("grad-cam")


def test_unknown_option_is_named():
    with pytest.raises(XkdError, match=r"explainer 'cam': unknown option 'relu'; expected one of reduction, clamp"):
        create_explainer("cam", relu=True)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("cam", {"reduction": "max"}),
        ("centre", {"sigma": 0}),
        ("integrated_gradients", {"steps": 0}),
        ("gradient_shap", {"noise": -1}),
        ("occlusion", {"windows": 1.5}),
        ("feature_ablation", {"segments": -2}),
    ],
)
def test_bad_values_are_refused_with_the_option_named(name, options):
    with pytest.raises(XkdError, match=next(iter(options))):
        create_explainer(name, **options)


def test_parameters_are_what_was_asked_for():
    assert create_explainer("occlusion", windows=5).parameters() == {"windows": 5, "overlap": 2}


@dataclass(frozen=True)
class Optional(Explainer):
    """Has an option of every kind that text can say."""

    name = "of_the_test"
    citation = "none"
    cost = "0"

    steps: int = 3
    share: float = 0.5
    smooth: bool = False
    mode: Literal["a", "b"] = "a"
    sizes: tuple[int, ...] = (1,)
    folder: Path = Path()
    limit: int | None = 4

    def __call__(self, classifier, images, classes, context=None):
        return images.mean(1)


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("steps=7", {"steps": 7}),
        (" steps = 7 , share=1e-3", {"steps": 7, "share": 1e-3}),
        ("smooth=true,mode=b", {"smooth": True, "mode": "b"}),
        ("sizes=(1,2),steps=9", {"sizes": (1, 2), "steps": 9}),
        ("sizes=[3]", {"sizes": (3,)}),
        ("folder=a/b", {"folder": Path("a/b")}),
        ("limit=none", {"limit": None}),
        ("limit=5", {"limit": 5}),
    ],
)
def test_options_behind_a_name_are_read_as_their_types(text, options):
    made = create_explainer(f"py:{__name__}:Optional:{text}")
    assert type(made).__name__ == "Optional" and made.parameters() == {**Optional().parameters(), **options}
    assert create_explainer(f"of_the_test:{text}") == made and hash(made) == hash(replace(made))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("step=7", "unknown option 'step'; nearest: steps"),
        ("steps", "'steps' found; expected option=value, separated by commas"),
        ("steps=many", "steps is 'many'; expected a valid integer"),
        ("steps=1.5", "steps is '1.5'; expected a valid integer"),
        ("share=x", "share is 'x'; expected a valid number"),
        ("smooth=perhaps", "smooth is 'perhaps'; expected a valid boolean"),
        ("mode=c", "mode is 'c'; expected 'a' or 'b'"),
        ("sizes=(1,x)", r"sizes is '\(1,x\)'; expected a valid integer"),
        ("steps=1,steps=2", "steps is given twice"),
    ],
)
def test_options_behind_a_name_that_fail_are_one_line(text, message):
    with pytest.raises(XkdError, match=f"^explainer 'of_the_test': {message}") as caught:
        create_explainer(f"py:{__name__}:Optional:{text}")
    assert "\n" not in str(caught.value)


def test_an_option_is_given_once():
    with pytest.raises(XkdError, match="explainer 'occlusion': windows is given twice"):
        create_explainer("occlusion:windows=5", windows=6)
    assert create_explainer("occlusion:windows=5", overlap=1).parameters() == {"windows": 5, "overlap": 1}


def test_an_explainer_is_taken_as_it_is_and_anything_else_is_named():
    made = create_explainer("cam")
    assert as_explainer(made) is made and as_explainer("cam") == made == as_explainer("cam:reduction=sum")
    with pytest.raises(XkdError, match=r"explainer: the class Cam found; expected a name such as 'cam'"):
        as_explainer(type(made))
    with pytest.raises(XkdError, match="explainer: a NoneType found"):
        as_explainer(None)


def broken(**body):
    return type("Broken", (Explainer,), {"name": "broken", "citation": "none", "cost": "0", **body})


def call(self, classifier, images, classes, context=None):
    return images.mean(1)


@pytest.mark.parametrize(
    ("thing", "message"),
    [
        (len, "len is no explainer; expected a subclass"),
        (Optional(), "Optional is no explainer"),
        (broken(__call__=call, name=None), "Broken has no name; expected a text"),
        (broken(__call__=call, citation=1, cost=2), "has no citation and no cost"),
        (broken(), "does not define __call__"),
        (broken(__call__=call, __annotations__={"steps": int}), r"annotates steps; decorate it with @dataclass"),
        (dataclass(frozen=True)(broken(__call__=call, __annotations__={"name": str})), "name is annotated as an opt"),
    ],
)
def test_what_is_no_explainer_is_refused_when_it_is_registered(thing, message):
    with pytest.raises(XkdError, match=f"^explainer: .*{message}"):
        register_explainer(thing)
    assert "broken" not in EXPLAINERS


def test_an_explainer_that_fails_on_a_model_costs_the_inspection_nothing():
    @register_explainer
    class Failing(Optional):
        name = "failing"

        def check(self, classifier):
            raise RuntimeError("not today\nsecond line")

    found = inspect_classifier(small_classifier())
    assert "failed (RuntimeError: not today, in test_registry.py:" in found.refused["failing"]
    assert "cam" in found.explainers


def test_an_option_without_a_default_is_refused():
    @dataclass(frozen=True)
    class Bare(Optional):
        name = "bare"
        places: int = field(kw_only=True)

    with pytest.raises(XkdError, match="option 'places' has no default"):
        register_explainer(Bare)
