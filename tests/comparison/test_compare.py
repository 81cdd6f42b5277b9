"""Comparisons with a known answer: a model with itself, with a copy of other class order, floors, run directories."""

import copy

import numpy as np
import pandas as pd
import pytest

from xkd_eval import compare, load_classifier, perturbation_test
from xkd_eval.comparison.result import Comparison
from xkd_eval.comparison.words import sentences
from xkd_eval.datasets.embedded import EmbeddedDataset
from xkd_eval.errors import XkdError


@pytest.fixture(scope="module")
def images():
    return EmbeddedDataset("test", size=40)


@pytest.fixture(scope="module")
def with_itself(images, tmp_path_factory) -> Comparison:
    models = {"teacher": "embedded/exp_kd", "itself": "embedded/exp_kd", "plain": "embedded/plain"}
    return compare(models, images, output=tmp_path_factory.mktemp("compare"))


def of(table: pd.DataFrame, **values) -> pd.DataFrame:
    for name, value in values.items():
        table = table[table[name] == value]
    return table


def test_a_model_differs_from_itself_by_exactly_nothing(with_itself):
    rows = of(with_itself.differences, model="itself", other="teacher")
    assert len(rows) >= 15
    for name in ("value", "low", "high"):
        assert (rows[name] == 0).all()
    assert (rows["p"].dropna() == 1).all()
    assert (rows["p_holm"].dropna() == 1).all()
    assert (rows["effect"].dropna() == 0).all()
    agreement = of(with_itself.agreement, model="itself", outcome="all")
    for measure, expected in {"spearman": 1, "cosine": 1, "ssim": 1, "top20_iou": 1, "peak_distance": 0}.items():
        np.testing.assert_allclose(of(agreement, measure=measure)["value"], expected, atol=1e-6, err_msg=measure)
    said = [sentence for sentence in sentences(with_itself) if "itself" in sentence and "AUC" in sentence]
    assert any("itself and teacher are equal" in sentence for sentence in said)


def test_scores_are_those_of_the_tests(with_itself, images):
    alone = perturbation_test("embedded/plain", images).summary
    for score in ("clean_accuracy", "positive.auc", "negative.auc_relative"):
        value = alone
        for key in score.split("."):
            value = value[key]
        assert of(with_itself.scores, model="plain", maps="cam", score=score)["value"].item() == pytest.approx(
            value["value"]
        )


def test_the_images_that_all_classify_correctly_are_counted(with_itself, images):
    hits = [
        perturbation_test(model, images, direction="positive").rows["clean_hit"].to_numpy(zero_copy_only=False)
        for model in ("embedded/exp_kd", "embedded/plain")
    ]
    rows = of(with_itself.scores, score="positive.auc_common")
    assert set(rows["n_images"]) == {int((hits[0] & hits[1]).sum())}


def test_floors_and_ceiling_stand_beside_every_model(with_itself):
    for score, maps in (("positive.auc", {"cam", "random", "centre", "edges", "oracle"}), ("miou", None)):
        found = of(with_itself.scores, score=score, model="plain")
        assert set(found["maps"]) == (maps or {"cam", "random", "centre", "edges", "oracle"})
    assert of(with_itself.scores, score="miou", model="plain", maps="oracle")["value"].item() > 0.9


def test_transfer_of_a_model_to_itself_is_its_own_score(with_itself):
    own = of(with_itself.scores, model="teacher", maps="cam", score="positive.auc")["value"].item()
    crossed = of(with_itself.transfer, maps_of="itself", measured_on="teacher", score="positive.auc")
    assert crossed["value"].item() == pytest.approx(own)
    assert len(with_itself.transfer) == 8


def test_a_copy_with_permuted_classes_has_the_same_maps(images, tmp_path):
    first = load_classifier("embedded/exp_kd")
    order = np.random.default_rng(0).permutation(10)
    other = copy.deepcopy(first)
    head = other.model.get_submodule(other.head.linear)
    head.weight.data, head.bias.data = head.weight.data[order], head.bias.data[order]
    other.class_names = tuple(first.class_names[index] for index in order)
    found = compare({"first": first, "other": other}, images, floors=False)
    rows = of(found.agreement, measure="spearman", of_class="predicted", outcome="all")
    assert rows["value"].item() == pytest.approx(1)
    assert set(found.agreement["of_class"]) == {"predicted"}  # an index means another class there
    assert of(found.differences, score="clean_accuracy")["value"].item() == 0


def test_it_continues_and_reads_run_directories(images, tmp_path):
    models = {"a": "embedded/exp_kd", "b": "embedded/plain"}
    first = compare(models, images, floors=False, output=tmp_path)
    seen = []
    again = compare(models, images, floors=False, output=tmp_path, progress=lambda *what: seen.append(what))
    pd.testing.assert_frame_equal(first.differences, again.differences)
    assert seen == []
    runs = {label: str(tmp_path / "runs" / label / "perturbation-cam") for label in models}
    from_runs = compare(runs)
    ours = of(first.differences, score="positive.auc")[["value", "low", "high", "p"]].to_numpy(dtype=float)
    theirs = of(from_runs.differences, score="positive.auc")[["value", "low", "high", "p"]].to_numpy(dtype=float)
    np.testing.assert_allclose(ours, theirs)
    assert (tmp_path / "tables" / "differences.csv").is_file()
    assert r"\toprule" in (tmp_path / "tables" / "scores.tex").read_text()
    assert r"clean\_accuracy" in (tmp_path / "tables" / "scores.tex").read_text()


def test_runs_of_other_rules_or_images_are_refused_with_the_fields(images, tmp_path):
    perturbation_test("embedded/exp_kd", images, output=tmp_path / "a", direction="positive")
    perturbation_test("embedded/plain", images, output=tmp_path / "b", direction="positive", fill="mean")
    with pytest.raises(XkdError, match=r"these differ: protocol.hash"):
        compare([tmp_path / "a", tmp_path / "b"])
    perturbation_test("embedded/plain", images, output=tmp_path / "c", direction="positive", limit=10)
    with pytest.raises(XkdError, match=r"these differ: data.digest"):
        compare([tmp_path / "a", tmp_path / "c"])


@pytest.mark.parametrize(
    ("models", "message"),
    [
        (["embedded/plain"], "1 model given; expected at least two"),
        (["embedded/plain", "none.pt"], "none.pt"),
    ],
)
def test_bad_input_is_one_line(models, message):
    with pytest.raises(XkdError, match=message):
        compare(models)


def test_equal_names_are_told_apart(images):
    found = compare(["embedded/plain", "embedded/plain"], images, floors=False, images=10)
    assert found.models == ("embedded plain", "embedded plain #2")
