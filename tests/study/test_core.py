"""The tests that a paper's table needs: what is run, and what is said of what cannot be."""

from __future__ import annotations

import pytest
import torch

from xkd_eval import Evaluation, XkdError, compare, evaluate
from xkd_eval.cli.output import print_comparison, print_study
from xkd_eval.datasets.embedded import EmbeddedDataset
from xkd_eval.evaluations import TESTS
from xkd_eval.explainers.stored import save_maps
from xkd_eval.study.choose import without_core

CORE = [name for name, kind in TESTS.items() if kind.is_core]


@pytest.fixture(scope="module")
def few():
    return EmbeddedDataset("test", size=3)


def test_what_the_core_is():
    assert CORE == ["fidelity", "confidence", "insertion_deletion", "localisation", "grid_pointing", "randomisation"]


def test_it_stands_in_the_place_of_its_tests():
    everything = ("labels", "masks", "boxes", "reference")
    assert without_core(["perturbation", "core", "road"], everything) == (["perturbation", *CORE, "road"], [])


def test_a_test_that_is_named_beside_it_replaces_its_own(few):
    study = evaluate("embedded/kd", few, tests=["core", "confidence:preset=torch-cam"])
    assert sorted(result.test_name for result in study.results) == sorted(set(CORE) - {"fidelity", "grid_pointing"})
    confidence = next(result for result in study.results if result.test_name == "confidence")
    assert confidence.summary["preset"]["name"] == "torch-cam"


def test_a_test_that_is_named_beside_it_is_not_left_out(few):
    with pytest.raises(XkdError, match=r"grid"):
        evaluate("embedded/kd", few, tests=["core", "grid_pointing:confidence=0"])


def test_what_models_or_data_lack_is_said(few, capsys):
    study = evaluate("embedded/kd", few, tests="core")
    assert {result.test_name for result in study.results} == set(CORE) - {"fidelity", "grid_pointing"}
    said = dict(sentence.split(" is left out: ") for sentence in study.left_out)
    assert said["fidelity"] == "it needs reference"
    assert "grid" in said["grid_pointing"] and "\n" not in said["grid_pointing"]
    print_study(study)
    assert "grid_pointing is left out" in " ".join(capsys.readouterr().out.split())


def test_a_test_that_is_named_is_not_left_out(few):
    with pytest.raises(XkdError, match=r"grid"):
        evaluate("embedded/kd", few, tests=["confidence", "grid_pointing"])


def test_a_comparison_says_it_too(few, capsys):
    found = compare(["embedded/teacher", "embedded/kd"], few, tests="core", floors=False)
    assert set(found.scores["test"]) == set(CORE) - {"grid_pointing"}
    assert [sentence.split(" ")[0] for sentence in found.left_out] == ["grid_pointing"]
    print_comparison(found)
    assert "grid_pointing is left out" in " ".join(capsys.readouterr().out.split())


def test_maps_from_elsewhere_are_scored_by_what_needs_no_others(few, tmp_path):
    save_maps(tmp_path, few.ids, torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(0)))
    study = evaluate("embedded/kd", few, tests="core", maps=tmp_path)
    assert {result.test_name for result in study.results} == {"confidence", "insertion_deletion", "localisation"}
    assert sum("stored" in sentence for sentence in study.left_out) == 2


def test_a_core_of_which_nothing_can_be_run_is_an_error(monkeypatch):
    class Reference(Evaluation):
        name, title, citation, is_core, needs_reference = "lonely", "lonely", "for the test", True, True

        def rows(self, batch):
            return {}

        def specs(self):
            return ()

    monkeypatch.setattr(TESTS, "items", lambda: iter([("lonely", Reference)]))
    with pytest.raises(
        XkdError, match=r"^tests: nothing of the core can be run; lonely is left out: it needs reference"
    ):
        without_core(["core"], ())
