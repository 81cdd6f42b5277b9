"""Which cells a study has, and what tables call them."""

from __future__ import annotations

import pandas as pd
import pytest

from xkd_eval import create_explainer, evaluate, load_classifier
from xkd_eval.datasets.embedded import EmbeddedDataset
from xkd_eval.errors import UnreadableImageError, XkdError

POSITIVE = {"direction": "positive", "limit": 4}


@pytest.mark.parametrize("kept", [False, True])
def test_models_that_share_a_run_keep_their_labels(tmp_path, kept):
    where = {"runs": tmp_path} if kept else {}
    twice = evaluate({"a": "embedded/kd", "b": "embedded/kd"}, **POSITIVE, **where).scores
    a, b = (twice[twice["model"] == name].drop(columns="model").reset_index(drop=True) for name in "ab")
    pd.testing.assert_frame_equal(a, b)
    assert len(a)
    # No answer enters: the maps of models that see alike are scored once.
    random = evaluate(["embedded/teacher", "embedded/kd"], explainers="random", tests="segmentation", limit=4, **where)
    assert [result.model for result in random.results] == ["teacher", "kd"]
    assert random.results[0].rows is random.results[1].rows


def test_one_test_or_explainer_with_other_options_has_a_name_of_its_own():
    study = evaluate(
        "embedded/kd",
        tests=["perturbation", "perturbation:fill=blur"],
        explainers=["gradcam", "gradcam:relu=false", "gradcam", create_explainer("gradcam")],
        **POSITIVE,
    )
    tests, maps = ("perturbation", "perturbation:fill=blur"), ("gradcam", "gradcam:relu=false")
    assert [(result.test_name, result.maps) for result in study.results] == [(t, m) for t in tests for m in maps]
    assert not study.scores.duplicated(["model", "maps", "test", "score"]).any()
    assert study.result("kd", tests[1], maps[1]).test.protocol.fill == "blur"
    made = [result.test for result in study.results[::2]]
    assert len(evaluate("embedded/kd", tests=made, **{"limit": 4}).results) == 2


def test_names_do_not_depend_on_the_order_in_which_they_are_given():
    given = ["perturbation:fill=blur", "perturbation", "perturbation"]
    study = evaluate("embedded/kd", tests=given, **POSITIVE)
    assert [result.test_name for result in study.results] == given[:2]
    assert [result.test.protocol.fill for result in study.results] == ["blur", "black"]


def test_explainers_that_tables_could_not_tell_apart_are_refused():
    class Mine(type(create_explainer("random"))):
        name = "mine"

    class Other(type(create_explainer("centre"))):
        name = "mine"

        def parameters(self):
            return Mine().parameters()

    with pytest.raises(XkdError, match=r"^explainers: two different ones are called 'mine:"):
        evaluate("embedded/kd", explainers=[Mine(), Other()], **POSITIVE)


class FirstUnreadable(EmbeddedDataset):
    def load(self, position):
        if position == 0:
            raise UnreadableImageError(f"{self.ids[position]}: damaged")
        return super().load(position)


def test_a_cell_without_an_image_does_not_cost_the_others_their_summaries(tmp_path):
    names = load_classifier("embedded/kd").class_names
    digits = FirstUnreadable("test", size=4)
    digits.labels, digits.label_kind = [names[int(label)] for label in digits.labels], "name"
    assert digits.labels.count(digits.labels[0]) == 1
    knows_one = load_classifier("embedded/plain")
    knows_one.class_names = tuple(name if name == digits.labels[0] else f"other {name}" for name in names)
    models = {"plain": knows_one, "kd": "embedded/kd"}
    with pytest.raises(XkdError, match="no image could be evaluated"):
        evaluate(models, digits, tests="segmentation", target="true", runs=tmp_path)
    assert [path.parent.name.split("-")[0] for path in tmp_path.rglob("summary.json")] == ["embedded_kd"]


def test_no_explainer_is_said_to_be_none():
    with pytest.raises(XkdError, match="explainers: none given"):
        evaluate("embedded/kd", explainers=[], limit=4)
