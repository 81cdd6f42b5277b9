"""Which cells a study has, and what tables call them."""

from __future__ import annotations

import pandas as pd
import pytest

from xkd_eval import create_explainer, evaluate
from xkd_eval.errors import XkdError

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


def test_no_explainer_is_said_to_be_none():
    with pytest.raises(XkdError, match="explainer: none given"):
        evaluate("embedded/kd", explainers=[], limit=4)
