"""What a study computes, by counters: each photograph once, each answer once, each map once, and nothing again."""

from __future__ import annotations

import time
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from xkd_eval import compare, evaluate, perturbation_test, segmentation_test
from xkd_eval.engines import network
from xkd_eval.errors import XkdError
from xkd_eval.study import stream

from .conftest import CountedCam, CountedImages

TESTS = ["perturbation", "segmentation", "agreement"]
FRACTIONS = (0.3, 0.6)


@pytest.fixture
def clean(monkeypatch) -> Counter:
    """Images of the clean pass, by the name of the model."""
    passes: Counter = Counter()
    original = network.Network.clean

    def count(self, images, ids):
        passes[self.classifier.name] += len(images)
        return original(self, images, ids)

    monkeypatch.setattr(network.Network, "clean", count)
    return passes


def study(counted, **options):
    given = {"explainers": [counted.explainer], "tests": TESTS, "batch_size": 4}
    given |= {"fractions": FRACTIONS} if "perturbation" in options.get("tests", TESTS) else {}
    return evaluate(counted.models, counted.images, **{**given, **options})


def test_many_tests_read_classify_and_explain_each_photograph_once(counted, clean):
    study(counted)
    n_images = len(counted.images)
    assert set(counted.images.decoded.values()) == {1} and len(counted.images.decoded) == n_images
    assert clean == dict.fromkeys(counted.models, n_images)
    assert len(counted.explainer.explained) == 3 * n_images
    assert set(counted.explainer.explained.values()) == {1}


def test_what_is_forwarded_beside_the_clean_pass_are_the_masked_images(counted, clean):
    study(counted, tests=["segmentation"])  # and one image, for the size of its activations
    counted.reset()
    study(counted, tests=["segmentation"])
    few = Counter(counted.forwarded)
    counted.reset()
    study(counted, tests=["segmentation", "perturbation"])
    # 10 images in batches of 4, 4 and 2, two directions of two masks: chunks of 64, each padded.
    masked = 2 * (64 + 64 + 64)
    assert {name: counted.forwarded[name] - few[name] for name in few} == dict.fromkeys(few, masked)


def test_a_comparison_with_its_crossings_explains_once_a_class_rule(counted, clean):
    compare(counted.models, counted.images, explainer=counted.explainer, fractions=FRACTIONS)
    n_images = len(counted.images)
    assert set(counted.images.decoded.values()) == {1}
    assert clean == dict.fromkeys(counted.models, n_images)
    by_model = Counter(name for name, _, _ in counted.explainer.explained.elements())
    # The others' maps are of their own prediction, and once more of the reference's.
    assert by_model == {"teacher": n_images, "kd": 2 * n_images, "exp_kd": 2 * n_images}


def test_networks_of_two_geometries_share_the_decoded_photograph(counted):
    counted.models["kd"] = perturbed = counted.models["kd"]
    from dataclasses import replace

    perturbed.preprocess = replace(perturbed.preprocess, size=(32, 32))
    study(counted, tests=["perturbation"])
    assert set(counted.images.decoded.values()) == {1}


def test_one_more_test_model_or_explainer_computes_that_alone(counted, clean, tmp_path):
    two = {name: counted.models[name] for name in ("teacher", "kd")}
    first = evaluate(two, counted.images, explainers=[counted.explainer], tests="perturbation", output=tmp_path)
    counted.reset(), clean.clear()
    again = evaluate(two, counted.images, explainers=[counted.explainer], tests="perturbation", output=tmp_path)
    assert not counted.images.decoded and not counted.explainer.explained and not clean
    pd.testing.assert_frame_equal(first.scores, again.scores)
    counted.reset()
    evaluate(counted.models, counted.images, explainers=[counted.explainer], tests="perturbation", output=tmp_path)
    assert clean == {"exp_kd": len(counted.images)}
    clean.clear()
    more = evaluate(
        two, counted.images, explainers=[counted.explainer], tests=["perturbation", "segmentation"], output=tmp_path
    )
    assert clean == dict.fromkeys(two, len(counted.images))
    assert {result.continued for result in more.results if result.test.name == "perturbation"} == {10}


def test_two_studies_share_finished_cells(counted, clean, tmp_path):
    evaluate(counted.models, counted.images, explainers="cam", runs=tmp_path / "runs")
    clean.clear()
    compare(counted.models, counted.images, floors=False, tests=["perturbation"], runs=tmp_path / "runs")
    before = Counter(clean)
    # What is new is the crossings, and the maps that they need.
    assert before == dict.fromkeys(counted.models, len(counted.images))
    clean.clear()
    compare(counted.models, counted.images, floors=False, tests=["perturbation"], runs=tmp_path / "runs")
    assert not clean


class InterruptedStudyError(Exception):
    pass


@pytest.mark.parametrize("rows", [1, 7, 20, 41, 70])
def test_a_study_that_is_killed_at_any_moment_continues_to_the_same_rows(counted, tmp_path, rows):
    def stop(what: str, done: int, total: int) -> None:
        if done >= rows:
            raise InterruptedStudyError

    whole = study(counted)
    with pytest.raises(InterruptedStudyError):
        study(counted, runs=tmp_path, progress=stop)
    continued = study(counted, runs=tmp_path)
    assert [result.rows for result in continued.results] == [result.rows for result in whole.results]


def test_cells_of_a_study_have_the_rows_of_the_tests_alone(counted):
    together = study(counted, tests=["perturbation", "segmentation"])
    for function in (perturbation_test, segmentation_test):
        options = {"fractions": FRACTIONS} if function is perturbation_test else {}
        alone = function(counted.models["kd"], counted.images, explainer=counted.explainer, **options)
        found = together.result("kd", alone.test.name)
        assert found.rows.equals(alone.rows)
        assert {**found.summary, "images_per_second": 0} == {**alone.summary, "images_per_second": 0}


@pytest.mark.parametrize("at_once", [1, 2])
def test_models_in_turns_come_to_the_same(counted, clean, at_once, tmp_path, monkeypatch):
    loaded: list[int] = []
    original = network.Network.__init__
    alive: set[str] = set()

    def counting(self, classifier, *more, **others):
        alive.add(classifier.name)
        loaded.append(len(alive))
        original(self, classifier, *more, **others)

    together = compare(counted.models, counted.images, explainer=counted.explainer, fractions=FRACTIONS, seed=1)
    monkeypatch.setattr(network.Network, "__init__", counting)
    turns: list[list[str]] = []
    from xkd_eval.study import stream

    original_turns = stream.turns

    def recorded(*given):
        for labels, *due in original_turns(*given):
            alive.clear()
            turns.append(labels)
            yield (labels, *due)

    monkeypatch.setattr(stream, "turns", recorded)
    in_turns = compare(
        counted.models,
        counted.images,
        explainer=counted.explainer,
        fractions=FRACTIONS,
        seed=1,
        models_at_once=at_once,
        output=tmp_path,
        gallery=0,
    )
    assert len(turns) > 1
    # A pair that is held against the reference needs two.
    assert max(map(len, turns)) <= max(at_once, 2)
    for name, table in together.tables().items():
        pd.testing.assert_frame_equal(table, in_turns.tables()[name], check_exact=False, atol=1e-12)


def test_maps_of_a_turn_are_kept_for_the_crossings_of_another(counted, tmp_path):
    study_in_turns = compare(
        counted.models, counted.images, explainer=counted.explainer, tests=["perturbation"], models_at_once=1
    )
    together = compare(counted.models, counted.images, explainer=counted.explainer, tests=["perturbation"])
    np.testing.assert_array_equal(study_in_turns.transfer["value"], together.transfer["value"])


def test_equal_models_of_two_names_share_a_run_and_keep_their_names(counted, clean, tmp_path):
    twice = {"a": counted.models["kd"], "b": counted.models["kd"]}
    found = evaluate(twice, counted.images, tests="segmentation", runs=tmp_path)
    assert [result.model for result in found.results] == ["a", "b"]
    assert found.results[0].directory == found.results[1].directory


def test_kept_maps_of_another_set_with_the_same_ids_are_not_taken(counted, tmp_path):
    compare(counted.models, counted.images, explainer=counted.explainer, tests=["perturbation"], runs=tmp_path)
    other = CountedImages()
    other.name = "another"
    counted.reset()
    compare(counted.models, other, explainer=counted.explainer, tests=["perturbation"], runs=tmp_path)
    assert sum(counted.explainer.explained.values()) == 3 * len(other)


class Sized(CountedCam):
    """A map that knows at which size it will be scored."""

    name, reads_size = "sized", True

    def __call__(self, classifier, images, classes, context=None):
        maps = super().__call__(classifier, images, classes, context)
        return maps if context.size is None else maps.flip(2) * context.size[0]


def test_maps_that_depend_on_the_size_are_not_read_back(counted, tmp_path):
    whole = {"floors": False, "explainer": Sized()}
    fresh = compare(counted.models, counted.images, output=tmp_path / "fresh", **whole)
    compare(counted.models, counted.images, tests="perturbation", output=tmp_path / "continued", **whole)
    continued = compare(counted.models, counted.images, output=tmp_path / "continued", **whole)
    pd.testing.assert_frame_equal(continued.scores, fresh.scores)


@pytest.mark.parametrize("function", [evaluate, compare])
def test_an_option_of_a_single_test_is_refused(counted, tmp_path, function):
    with pytest.raises(XkdError, match=r"^save_maps: "):
        function(counted.models, counted.images, save_maps=tmp_path)


def said_while(counted, monkeypatch, seconds):
    """What progress is told of a study, on a clock that moves by each map alone."""
    explained, said = counted.explainer.explained, []
    clock = SimpleNamespace(monotonic=lambda: seconds * explained.total(), perf_counter=time.perf_counter)
    monkeypatch.setattr(stream, "time", clock)
    options = {"explainers": [counted.explainer], "tests": ["segmentation"], "batch_size": 4}
    evaluate({"kd": counted.models["kd"]}, counted.images, progress=lambda *told: said.append(told), **options)
    return said


def test_quick_maps_are_said_by_the_batch(counted, monkeypatch):
    assert said_while(counted, monkeypatch, 0.1) == [("segmentation", done, 10) for done in (0, 4, 8, 10)]


def test_slow_maps_are_said_one_by_one(counted, monkeypatch):
    expected = [("segmentation", 0, 10)]
    for done, due in ((0, 4), (4, 4), (8, 2)):
        expected += [(f"segmentation, map {made} of {due}", done, 10) for made in range(1, due + 1)]
        expected.append(("segmentation", done + due, 10))
    assert said_while(counted, monkeypatch, 90.0) == expected
