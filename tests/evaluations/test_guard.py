"""What every call of a test is owed and held to: photographs of its own, checked rows, its name in errors."""

from __future__ import annotations

import re
import warnings

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from xkd_eval import ScoreSpec, evaluate, load_classifier, register_test
from xkd_eval.datasets.embedded import EmbeddedDataset
from xkd_eval.errors import XkdError
from xkd_eval.evaluations import Evaluation, Rules
from xkd_eval.evaluations.presets import Preset
from xkd_eval.evaluations.scores import STUDYS_COLUMNS
from xkd_eval.study.summary import RESERVED


class Whole(Evaluation):
    """Holds to the contract."""

    name, title, citation, in_comparisons = "outsiders", "Outsider's", "for the test", False

    def rows(self, batch):
        return {"v": np.full(len(batch.ids), 0.5)}

    def specs(self):
        return (ScoreSpec("v", "v", lambda means: means["v"], per_image=lambda rows: rows["v"]),)


def outsiders(**members) -> type[Evaluation]:
    """The same with other members; functions of `rows` take the batch alone."""
    if "rows" in members:
        members["rows"] = lambda self, batch, body=members["rows"]: body(batch)
    return type("Outsiders", (Whole,), members)


@pytest.fixture(scope="module")
def images():
    return EmbeddedDataset("test", size=4)


@pytest.fixture(scope="module")
def classifier():
    return load_classifier("embedded/kd")


def scored(kind, classifier, images, **options):
    return evaluate(classifier, images, tests=[kind], **options).results[0]


def write_everywhere(batch):
    for value in (batch, batch.reference):
        for tensor in vars(value).values() if value is not None else ():
            if isinstance(tensor, torch.Tensor):
                tensor.zero_()
                tensor.data.zero_()
                tensor.numpy()[...] = 0
    for tensor in batch.network.classifier.state_dict().values():
        tensor.zero_()
    batch.network.classifier.train().register_forward_hook(lambda *_: 1 / 0)
    return {"v": np.zeros(len(batch.ids))}


@pytest.mark.parametrize("reference", [False, True])
def test_what_a_test_writes_to_is_its_own(reference, classifier):
    """The tests beside it, later batches and the caller's classifier keep what they have."""
    images = EmbeddedDataset("test", size=2)
    models = {"first": classifier, "second": load_classifier("embedded/exp_kd")}
    before = [model.digest() for model in models.values()]
    beside = ["perturbation:direction=positive", "segmentation", "agreement"]
    writing = outsiders(rows=write_everywhere, needs_reference=reference)
    alone, together = (
        evaluate(models, images, tests=tests, batch_size=1).scores for tests in (beside, [writing, *beside])
    )
    together = together[together["test"] != "outsiders"]
    assert together.reset_index(drop=True).equals(alone)
    assert [model.digest() for model in models.values()] == before
    assert not classifier.training and not classifier._forward_hooks


def test_an_array_that_is_filled_again_keeps_the_earlier_rows(images, classifier):
    kept, filled = np.zeros(1), iter(range(4))

    def rows(batch):
        kept[:] = next(filled)
        return {"v": kept}

    found = scored(outsiders(rows=rows), classifier, images, batch_size=1)
    assert found.columns["v"].tolist() == [0, 1, 2, 3]


def in_place(means):
    means["v"] *= 2
    return means["v"]


@pytest.mark.parametrize(
    "members",
    [
        {"specs": lambda self: (ScoreSpec("v", "v", in_place),)},
        {"extras": lambda self, rows: rows["v"].fill(0) or {}},
        {"columns": lambda self, rows: rows["label"].fill(0) or rows},
    ],
)
def test_rows_and_means_are_read_only(members, images, classifier):
    with pytest.raises(XkdError, match=r"^test 'outsiders': .*read-only"):
        scored(outsiders(**members), classifier, images)


def test_a_summary_is_no_ones_to_write(images, classifier):
    def notes(self, summary):
        summary["v"]["value"] = 1.0
        return ["written"]

    found = scored(outsiders(notes=notes), classifier, images)
    assert found.test.notes(found.summary) == ["written"] and found.summary["v"]["value"] == 0.5


COUNTED = r"expected \(4,\) or \(4, n\) numbers, or \(4,\) texts: a row an image"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (lambda b: {"v": np.ones(3)}, rf"its column 'v' is a NumPy array of float64 \(3,\); {COUNTED}"),
        (lambda b: {"v": np.ones(())}, rf"its column 'v' is a NumPy array of float64 \(\); {COUNTED}"),
        (lambda b: {"v": np.float64(1)}, "its column 'v' is a NumPy array of float64 .*expected a NumPy array"),
        (lambda b: {"v": np.ones((4, 2, 2))}, rf"float64 \(4, 2, 2\); {COUNTED}"),
        (lambda b: {"v": np.ones((4, 0))}, rf"float64 \(4, 0\); {COUNTED}"),
        (lambda b: {"v": np.ones(4, complex)}, rf"complex128 \(4,\); {COUNTED}"),
        (lambda b: {"v": np.array([None] * 4)}, rf"object \(4,\); {COUNTED}"),
        (lambda b: {"v": np.ones(4, "M8[s]")}, rf"datetime64\[s\] \(4,\); {COUNTED}"),
        (lambda b: {"v": np.full((4, 2), "a")}, rf"<U1 \(4, 2\); {COUNTED}"),
        (lambda b: {"v": np.array(["\udcff"] * 4)}, "its column 'v' holds .*; expected text that is valid as UTF-8"),
        (lambda b: {"v": np.ma.ones(4, int)}, "its column 'v' is masked"),
        (lambda b: {"v": [1.0] * 4}, "its column 'v' is a list; expected a NumPy array, a row an image"),
        (lambda b: {"v": torch.ones(4, dtype=torch.bfloat16)}, r"its column 'v' is a bfloat16 tensor \(4,\)"),
        (lambda b: {1: np.ones(4)}, "a column of its rows is called 1; expected a text"),
        (lambda b: {"": np.ones(4)}, "a column of its rows is called ''; expected a text"),
        (lambda b: {}, r"its rows are {}; expected columns"),
        (lambda b: None, "its rows are None; expected columns: a dict with a NumPy array a name"),
        (lambda b: 1 / 0, r"its rows failed \(ZeroDivisionError: division by zero, in test_guard\.py:\d+\); mend it"),
        (lambda b: exit(3), r"its rows failed \(SystemExit: 3"),
        *((lambda b, name=name: {name: np.ones(4)}, f"a column is called '{name}', as a") for name in STUDYS_COLUMNS),
    ],
)
def test_what_are_no_rows_is_refused_by_test_and_column(rows, message, images, classifier):
    with pytest.raises(XkdError, match=f"^test 'outsiders': .*{message}") as caught:
        scored(outsiders(rows=rows), classifier, images)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", [bool, np.int8, np.uint64, np.float16, ">f4", str])
def test_rows_of_every_allowed_kind_come_back_as_they_were(kind, images, classifier):
    values = np.array([1, 0, 1, 1]).astype(kind)
    found = scored(outsiders(rows=lambda b: {"v": np.ones(4), "w": values}), classifier, images)
    assert found.columns["w"].tolist() == values.tolist()


@pytest.mark.parametrize(
    "later", [{"v": np.ones(1, np.float32)}, {"v": np.ones(1), "w": np.ones(1)}, {"w": np.ones(1)}]
)
def test_other_columns_in_a_later_batch_are_refused(later, images, classifier):
    found = iter([{"v": np.ones(1)}, *[later] * 3])
    with pytest.raises(XkdError, match=r"^test 'outsiders': its column '[vw]' is .*, and in an earlier batch it was"):
        scored(outsiders(rows=lambda b: next(found)), classifier, images, batch_size=1)


def spec(compute, **fields):
    return {"specs": lambda self: (ScoreSpec("v", "v", compute, **fields),)}


def named(*names):
    return {"specs": lambda self: tuple(ScoreSpec(name, "v", lambda means: means["v"]) for name in names)}


@pytest.mark.parametrize(
    ("members", "message"),
    [
        (spec(lambda means: 1.0), r"its score 'v' is a float; expected a NumPy array \(1,\) of numbers"),
        (spec(lambda means: "a"), "its score 'v' is a str"),
        (spec(lambda means: np.ones(3)), r"its score 'v' is a NumPy array of float64 \(3,\); expected .* \(1,\)"),
        (spec(lambda means: means["v"], x=(0.0, 1.0)), r"its score 'v' .* expected a NumPy array \(1, 2\) of numbers"),
        (spec(lambda means: means["w"]), r"its score 'v' failed \(KeyError: 'w'\); it is given the columns .*, v$"),
        (spec(lambda means: means["v"], better="up"), "better: unknown value 'up'; expected one of higher, lower"),
        (named("v", "v"), "two of its scores are called 'v'"),
        (named("v.a", "v"), "its score 'v' cannot hold the score 'v.a'"),
        (named(""), "name: '' found for a score"),
        (named("a..b"), r"name: 'a\.\.b' found for a score"),
        (named("n_images"), "a score is called 'n_images', as a summary calls a fact of its own"),
        (named("data.digest"), "a score is called 'data', as a summary calls a fact of its own"),
        ({"specs": lambda self: None}, "its specs are None; expected a tuple of xkd_eval.ScoreSpec"),
        ({"specs": lambda self: 1 / 0}, r"its specs failed \(ZeroDivisionError"),
        ({"columns": lambda self, rows: {}}, "it has scores and no boolean or float column"),
        ({"columns": lambda self, rows: {"v": np.ones(3)}}, r"its column 'v' is .*\(3,\); expected \(4,\) or \(4, n\)"),
        ({"extras": lambda self, rows: {"n_images": 99}}, "'n_images' is what a summary calls a fact of its own"),
        ({"extras": lambda self, rows: {"v": {"value": 5.0}}}, "'v' is a score and one of its extras"),
        ({"extras": lambda self, rows: {"z": {"y": float("nan")}}}, "of its extras, 'z.y' is nan; expected plain"),
        ({"extras": lambda self, rows: {"z": np.ones(2)}}, r"of its extras, 'z' is array\(\[1\., 1\.\]\)"),
        ({"extras": lambda self, rows: [1]}, r"its extras are \[1\]; expected a dict of plain values"),
        ({"settings": lambda self: {"z": object()}}, "of its settings, 'z' is <object"),
        ({"settings": lambda self: {"chunk": 1}}, "a setting is called 'chunk', as a run calls"),
        ({"images": lambda self, dataset, answers: None}, "its images are None; expected an ImageDataset"),
        ({"scored_size": lambda self, preprocess: (0, 3)}, r"its scored_size is \(0, 3\); expected height and width"),
        ({"__init__": lambda self, protocol: None}, r"it has no protocol; call super\(\)"),
        ({"__init__": lambda self: None}, r"its __init__ failed \(TypeError"),
        ({"create": classmethod(lambda cls, rules, options: None)}, "None was made; expected a test of its class"),
        ({"name": None}, "name is None; expected a text"),
        ({"title": " "}, "title is ' '; expected a text"),
        ({"Options": dict}, "Options is <class 'dict'>; expected a dataclass"),
        ({"presets": ["mine"]}, r"presets is \['mine'\]; expected names -> "),
        ({"presets": {"mine": {}}}, r"presets is {'mine': {}}; expected names -> "),
        ({"presets": {"mine": Preset({"no_rule": 1})}}, "its presets have a rule 'no_rule', which is no field of"),
        ({"Protocol": dict}, "Protocol is <class 'dict'>; expected a subclass of"),
    ],
)
def test_what_a_test_says_of_itself_and_its_scores_is_checked(members, message, images, classifier):
    with pytest.raises(XkdError, match=f"^test '?[oO]utsiders'?: {message}") as caught:
        scored(outsiders(**members), classifier, images)
    assert "\n" not in str(caught.value)


def test_static_and_class_methods_are_asked_as_they_are(images, classifier):
    specs = staticmethod(lambda: (ScoreSpec("w", "w", lambda means: means["v"]),))
    settings = classmethod(lambda cls: {"kind": cls.__name__})
    found = scored(outsiders(specs=specs, settings=settings), classifier, images)
    assert found.summary["w"]["value"] == 0.5 and found.description["settings"]["kind"] == "Outsiders"


@pytest.mark.parametrize(
    ("members", "asked", "message"),
    [
        ({"notes": lambda self, summary: "a"}, lambda test, found: test.notes(found.summary), "its notes are 'a'"),
        ({"quality": lambda self, rows: 1.0}, lambda test, found: test.quality(found.columns), "its quality is a fl"),
        ({"figures": lambda self, *_: {"a": 1}}, lambda test, found: found.plot(), r"its figures are {'a': 1}"),
        (
            {"figures": lambda self, *_: {"../a": Figure()}},
            lambda test, found: found.plot(),
            "figures is called '../a'",
        ),
        ({"curve_figure": lambda self, *_: 1}, lambda test, found: test.curve_figure({}, 1), "its curve_figure is 1"),
        (
            {"specs": lambda self: (ScoreSpec("v", "v", lambda means: means["v"], per_image=lambda rows: np.ones(3)),)},
            lambda test, found: test.spec("v").per_image(found.columns),
            r"per_image of 'v' is .*\(3,\); expected a NumPy array \(4,\)",
        ),
    ],
)
def test_what_is_asked_after_a_run_is_held_to_it_too(members, asked, message, images, classifier):
    found = scored(outsiders(**members), classifier, images)
    with pytest.raises(XkdError, match=f"^test 'outsiders': .*{re.escape(message) if '{' in message else message}"):
        asked(found.test, found)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"title": ""}, "title: '' found for the score 'a'; expected a text"),
        ({"name": 3}, "name: 3 found; expected a text"),
        ({"compute": None}, "compute: None found; expected a function"),
        ({"unit": "px"}, "unit: unknown value 'px'"),
        ({"role": "main"}, "role: unknown value 'main'"),
        ({"per_image": 1}, "per_image: 1 found; expected a function"),
        ({"x": (0, float("nan"))}, "x: .* found; expected numbers"),
        ({"x": ()}, r"x: \(\) found for the score 'a'"),
    ],
)
def test_a_score_is_checked_where_it_is_made(fields, message):
    with pytest.raises(XkdError, match=f"^{message}"):
        ScoreSpec(**{"name": "a", "title": "b", "compute": len, **fields})


def test_plain_values_come_back_as_json_has_them(images, classifier):
    extras = {"a": np.float32(0.5), "b": (np.int64(1), True, None), "c": {"d": np.bool_(True)}}
    found = scored(outsiders(extras=lambda self, rows: extras), classifier, images)
    assert {name: found.summary[name] for name in "abc"} == {"a": 0.5, "b": [1, True, None], "c": {"d": True}}


def test_values_that_are_not_finite_make_a_score_undefined_in_silence(images, classifier):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = scored(outsiders(rows=lambda b: {"v": np.full(len(b.ids), np.inf)}), classifier, images)
    assert found.summary["v"] == {"value": None, "ci95": None}


class Beside:
    """Its methods are a test's, though it is none."""

    def rows(self, batch):
        return 1 / 0


def test_methods_of_a_class_beside_it_are_held_too(images, classifier):
    with pytest.raises(XkdError, match=r"^test 'outsiders': its rows failed"):
        scored(type("Mixed", (Beside, Whole), {}), classifier, images)


def test_a_test_that_lacks_what_it_must_say_is_not_registered():
    with pytest.raises(XkdError, match=r"^test 'half': it does not define specs"):
        register_test(type("Half", (Evaluation,), {**vars(Whole), "name": "half", "specs": Evaluation.specs}))


def test_the_names_that_are_a_studys_own_are_all_of_them(images, classifier):
    found = evaluate({"a": classifier, "b": classifier}, images, tests=["agreement", Whole])
    agreement, own = found.results[0], found.result("a", "outsiders")
    # The last two are of photographs of several classes, see tests/study/test_label_sets.py.
    *everywhere, _, _ = STUDYS_COLUMNS
    assert set(own.rows.column_names) - {"v"} <= set(everywhere) <= set(agreement.rows.column_names)
    assert set(own.summary) - {"v"} <= set(RESERVED)
    assert isinstance(own.test.protocol, Rules)
