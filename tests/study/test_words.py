"""What stands behind models' names, under the rules that all models of a study share."""

import logging

import pytest

from xkd_eval import XkdError, evaluate, perturbation_test
from xkd_eval.study.inputs import StudyInputs
from xkd_eval.study.models import name_models
from xkd_eval.study.options import RunOptions

KD = "embedded/kd"


def loaded(models, **options) -> StudyInputs:
    return StudyInputs.load(name_models(models), RunOptions(**options))


def told(caplog, models, **options) -> list[str]:
    caplog.set_level(logging.INFO, "xkd_eval.models")
    loaded(models, **options)
    return [record.getMessage() for record in caplog.records]


def test_each_model_has_its_own_words_over_the_options_of_all():
    inputs = loaded([KD, f"{KD},size=48", f"x={KD},size=64,mean=0.1,0.2,0.3"], size=56, std=0.5)
    found = {name: inputs.preprocess(name) for name in inputs.classifiers}
    assert [(one.size[0], one.mean[0], one.std[0]) for one in found.values()] == [
        (56, 0.3, 0.5),
        (48, 0.3, 0.5),
        (64, 0.1, 0.5),
    ]
    assert list(found) == ["kd", "kd,size=48", "x"]


def test_resize_behind_a_name_is_the_rule_of_all_models():
    inputs = loaded(f"{KD},resize=crop")
    assert inputs.rules == loaded(KD, resize="crop").rules != loaded(KD).rules
    assert inputs.preprocess("kd").resize == "crop"
    both = loaded([f"{KD},resize=crop", "embedded/plain,resize=crop"], resize="squash")
    assert both.preprocess("plain").resize == "crop"
    assert loaded([f"{KD},resize=squash", "embedded/plain"]).rules == loaded(KD).rules


def test_of_two_rules_neither_is_taken():
    with pytest.raises(
        XkdError, match=r"^resize: one rule .* say crop for kd, squash for plain; give `resize` instead"
    ):
        loaded([f"{KD},resize=crop", "embedded/plain"])


def test_a_protocol_that_says_otherwise_is_not_a_matter_of_silence():
    with pytest.raises(XkdError, match=r"^models: behind the name of kd stands mean, which protocol chefer says for"):
        loaded(f"{KD},mean=0.1", protocol="chefer")
    assert loaded(f"{KD},mean=0.5", protocol="chefer").preprocess("kd").mean == (0.5, 0.5, 0.5)
    with pytest.raises(
        XkdError, match=r"^models: .*'embedded/kd,sise=3' is no file, and no model has the option 'sise'"
    ):
        evaluate([f"{KD},sise=3"])


def test_a_line_a_model_with_what_it_is_given_here(caplog):
    lines = told(caplog, ["embedded", f"x={KD},size=48"])
    assert lines == [
        "embedded: input: 40x40 RGB, squash, bilinear, mean 0.3 0.3 0.3, std 0.2 0.2 0.2 (checkpoint)",
        "x: input: 48x48 RGB, squash, bilinear, mean 0.3 0.3 0.3, std 0.2 0.2 0.2 (size: option; the rest: checkpoint)",
    ]


def test_under_a_named_protocol_nothing_is_assumed(caplog, classifier):
    network = classifier.model
    (line,) = told(caplog, {"mine": network}, protocol="chefer")
    assert line == "mine: input: 224x224 RGB, squash, bilinear, mean 0.5 0.5 0.5, std 0.5 0.5 0.5 (protocol chefer)"
    caplog.clear()
    (line,) = told(caplog, {"mine": network}, size=64)
    assert "(size: option; the rest: default); mean and std are assumed, " in line


def test_of_a_classifier_it_was_told_when_it_was_loaded(caplog, classifier):
    assert not told(caplog, {"mine": classifier})


def test_a_score_depends_on_the_words_as_on_the_options():
    options = {"limit": 6, "direction": "positive"}
    words = perturbation_test(f"{KD},size=48,mean=0.2", **options).summary
    assert words["positive"] == perturbation_test(KD, size=48, mean=0.2, **options).summary["positive"]
