"""Fidelity: answers by hand, a slow rederivation, which features a row keeps, and what is refused."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.evaluations.conftest import batch_of
from xkd_eval import Preprocess, compare, evaluate, load_classifier
from xkd_eval.comparison.drawing import _differences
from xkd_eval.comparison.headlines import headlines
from xkd_eval.datasets.base import ImageDataset
from xkd_eval.datasets.embedded import EmbeddedDataset
from xkd_eval.errors import XkdError
from xkd_eval.evaluations import TESTS
from xkd_eval.evaluations.fidelity.alignment import alignment
from xkd_eval.evaluations.fidelity.kept import is_kept, packed, unpacked
from xkd_eval.evaluations.fidelity.options import FidelityOptions
from xkd_eval.evaluations.fidelity.test import FidelityTest
from xkd_eval.evaluations.protocol import Rules
from xkd_eval.statistics.bootstrap import all_images_means
from xkd_eval.testing import check_test

TEST = FidelityTest.create(Rules(), FidelityOptions())


def rows_of(logits, reference, labels=None, **features):
    """Of answers given by hand; features are (B, C, h, w)."""
    n = len(logits)
    pixels = torch.zeros(n, 3, 2, 2, dtype=torch.uint8)
    labels = [-1] * n if labels is None else labels
    batches = [
        batch_of(pixels, None, lambda images, given=given: given, labels, Preprocess(size=(2, 2)))
        for given in (torch.as_tensor(logits), torch.as_tensor(reference))
    ]
    ours, theirs = (
        replace(batch, features=features.get(name)) for batch, name in zip(batches, ("ours", "theirs"), strict=True)
    )
    return TEST.rows(replace(ours, reference=theirs))


def test_a_model_beside_itself():
    logits, features = torch.randn(9, 12), torch.rand(9, 5, 2, 2)
    rows = rows_of(logits, logits, ours=features, theirs=features)
    assert rows["agreement"].all() and (rows["kl"] == 0).all() and (rows["top5_overlap"] == 1).all()
    means = all_images_means(TEST.columns(rows | {"label": np.full(9, -1)}))
    assert alignment(means).item() == pytest.approx(1, abs=1e-12)  # sums in the order of the processor


def test_two_uniform_models_diverge_by_nothing():
    assert (rows_of(torch.zeros(2, 7), torch.full((2, 7), 3.0))["kl"] == 0).all()


def test_of_a_certain_teacher_and_a_doubtful_student_the_divergence_is_that_of_two_to_one():
    rows = rows_of([[0.0, 0.0]], [[2000.0, 0.0]])
    assert rows["kl"].item() == pytest.approx(np.log(2))
    assert rows_of([[2000.0, 0.0]], [[0.0, 0.0]])["kl"].item() == pytest.approx(1000 - np.log(2))  # and not its inverse


def test_where_the_reference_is_right_and_wrong():
    ours, theirs = torch.eye(3)[[0, 1, 2, 0, 1]], torch.eye(3)[[0, 2, 2, 1, 1]]
    rows = rows_of(ours, theirs, labels=[0, 2, 1, 0, -1])
    np.testing.assert_array_equal(rows["agreement"], [True, False, True, False, True])
    np.testing.assert_array_equal(rows["agreement_right"], [1, 0, np.nan, np.nan, np.nan])
    np.testing.assert_array_equal(rows["agreement_wrong"], [np.nan, np.nan, 1, 0, np.nan])


def test_the_overlap_of_five_classes_says_nothing_of_five():
    ours, theirs = torch.arange(8.0)[None], torch.tensor([[7.0, 6, 5, 4, 3, 8, 9, 10]])
    assert rows_of(ours, theirs)["top5_overlap"].item() == pytest.approx(3 / 5)
    assert np.isnan(rows_of(torch.rand(1, 5), torch.rand(1, 5))["top5_overlap"].item())


def test_the_answers_are_those_of_a_slow_rederivation():
    generator = np.random.default_rng(0)
    ours, theirs = (generator.normal(scale=3, size=(20, 15)).astype(np.float32) for _ in range(2))
    rows = rows_of(ours, theirs)
    for place in range(20):
        mine, other = ([np.exp(value) for value in logits[place].astype(float)] for logits in (ours, theirs))
        p, q = ([value / sum(values) for value in values] for values in (other, mine))
        kl = sum(first * (np.log(first) - np.log(second)) for first, second in zip(p, q, strict=True))
        assert rows["kl"][place] == pytest.approx(kl, rel=1e-9)
        tops = [set(sorted(range(15), key=lambda k, values=values: -values[k])[:5]) for values in (p, q)]
        assert rows["top5_overlap"][place] == pytest.approx(len(tops[0] & tops[1]) / 5)
        assert rows["agreement"][place] == (max(range(15), key=p.__getitem__) == max(range(15), key=q.__getitem__))


def test_a_sample_by_ids_keeps_about_as_many_features_as_it_is_told():
    names = [f"image {number}" for number in range(20_000)]
    kept = is_kept(names, 20_000, 5_000)
    assert abs(kept.sum() - 5_000) < 250
    np.testing.assert_array_equal(is_kept(names[::-1], 20_000, 5_000)[::-1], kept)
    assert is_kept(names[:400], 400, 5_000).all()


def test_features_are_read_as_they_were_kept():
    features = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    texts = packed(features, np.array([True, False, True, True]))
    assert texts[1] == ""
    np.testing.assert_array_equal(unpacked(texts[texts != ""]), features[[0, 2, 3]])


@pytest.fixture(scope="module")
def images():
    return EmbeddedDataset("test", size=24)


@pytest.fixture(scope="module")
def with_itself(images):
    return compare(["teacher=embedded/teacher", "twin=embedded/teacher", "kd=embedded/kd"], images, floors=False)


def test_it_stands_in_every_comparison(with_itself):
    scores = with_itself.scores[with_itself.scores["test"] == "fidelity"].set_index(["model", "score"])["value"]
    assert "teacher" not in scores.index.get_level_values(0)  # it has no fidelity to itself
    for score, expected in {"agreement": 1, "kl": 0, "top5_overlap": 1, "cka": 1}.items():
        assert scores["twin", score] == expected
    assert 0 < scores["kd", "cka"] < 1 and scores["kd", "kl"] > 0
    pairs = with_itself.differences[with_itself.differences["test"] == "fidelity"]
    assert set(zip(pairs["model"], pairs["other"], strict=True)) == {("kd", "twin")}
    assert set(pairs["score"]) >= {"agreement", "kl", "cka"} and pairs["p"].notna().any()
    agreement, divergence = (one for one in headlines(with_itself) if one.test.name == "fidelity")
    assert agreement.number(agreement.values["twin"]["value"]) == "100.0"
    assert divergence.claim("kd", "twin") == -1 and divergence.claim("kd", "teacher") is None


def test_the_forest_shows_how_far_it_is_from_the_references_own(with_itself):
    panels = _differences(with_itself)
    agreement = {row.name: row.value for row in panels["Agreement with the reference ↑"]}
    divergence = {row.name: row.value for row in panels["KL from the reference, nats ↓"]}
    assert agreement["twin"] == divergence["twin"] == 0
    assert agreement["kd"] <= 0 < divergence["kd"]


def test_cka_of_a_study_is_that_of_the_pooled_features(images, with_itself):
    from tests.evaluations.fidelity.test_alignment import direct_alignment

    sides = []
    for name in ("kd", "teacher"):
        model = load_classifier(f"embedded/{name}")
        pixels = torch.stack([model.preprocess.pixels(images.load(place).image) for place in range(len(images))])
        with torch.no_grad():
            features = model.forward_with_features(model.preprocess.normalise(pixels)).features
        sides.append(features.mean((2, 3)).double().numpy())
    table = with_itself.scores
    found = table[(table["model"] == "kd") & (table["score"] == "cka")]["value"].item()
    assert found == pytest.approx(direct_alignment(*sides), abs=1e-5)


class Unlabelled(EmbeddedDataset):
    """The same photographs without labels."""

    def __init__(self, size):
        super().__init__("test", size=size)
        self.labels, self.label_kind, self.name = [None] * size, "none", "unlabelled"


def test_without_labels_it_is_not_known_where_the_reference_is_right():
    images: ImageDataset = Unlabelled(8)
    result = evaluate(["embedded/teacher", "embedded/kd"], images, tests="fidelity").results[0]
    assert result.summary["agreement"]["value"] is not None
    assert result.summary["agreement_right"] == {"value": None, "ci95": None}
    assert "no image has a label" in " ".join(result.test.notes(result.summary))
    found = compare(["embedded/teacher", "embedded/kd"], images, tests="fidelity", floors=False)
    assert "kd" in next(one for one in headlines(found) if one.spec.name == "agreement").values


def test_of_a_part_of_the_images_it_says_so(images):
    result = evaluate(["embedded/teacher", "embedded/kd"], images, tests="fidelity:cka_images=12").results[0]
    kept = sum(text != "" for text in result.columns["features"])
    assert 5 <= kept < 24 and result.summary["cka_images"] == kept
    assert result.test.notes(result.summary) == [f"CKA is of {kept} images"]


def test_a_model_without_features_has_no_cka(images):
    bare = load_classifier("embedded/kd")
    bare.head, bare.head_refusal = None, "for the test"
    result = evaluate({"t": "embedded/teacher", "bare": bare}, images, tests="fidelity", limit=8).results[0]
    assert result.summary["cka"] == {"value": None, "ci95": None}
    assert "no CAM head" in " ".join(result.test.notes(result.summary))


def test_other_classes_are_refused_by_name_and_left_out_of_a_comparison_of_everything(images, tmp_path, monkeypatch):
    first = load_classifier("embedded/exp_kd")
    other = copy.deepcopy(first)
    other.class_names = first.class_names[::-1]
    models = {"first": first, "other": other, "same": "embedded/kd"}
    message = r"^tests fidelity: .* other and first have 10 of other names or in another order; leave it out"
    for function in (evaluate, compare):
        for named in (["fidelity"], ["core", "fidelity"]):
            with pytest.raises(XkdError, match=message):
                function(models, images, tests=named)
    for name, kind in TESTS.items():  # others of the core may want more than four photographs
        monkeypatch.setattr(kind, "is_core", name in ("fidelity", "segmentation"))
    core = evaluate(models, images, tests=["core"], limit=4)
    assert any(line.startswith("fidelity of other is left out") for line in core.left_out)
    core = compare(models, images, tests=["core"], floors=False, limit=4)
    assert any(line.startswith("fidelity of other is left out") for line in core.left_out)
    tests = compare(models, images, floors=False, limit=6, output=tmp_path)
    assert set(tests.scores[tests.scores["test"] == "fidelity"]["model"]) == {"same"}
    assert [note.startswith("fidelity of other is left out: it holds answers") for note in tests.left_out] == [True]
    assert "fidelity of other is left out" in (tmp_path / "report.html").read_text()


def test_another_number_of_classes_is_refused():
    with pytest.raises(XkdError, match=r"^models: fidelity compares .* the model has 3 and the reference 2"):
        rows_of(torch.rand(1, 3), torch.rand(1, 2))


def test_too_few_images_for_cka_are_refused(images):
    with pytest.raises(XkdError, match=r"^cka_images: 4 found; CKA with an interval takes at least 5"):
        evaluate(["embedded/teacher", "embedded/kd"], images, tests="fidelity:cka_images=4")


def test_a_share_over_seeds_is_within_0_and_1():
    seeds = {"teacher": "embedded/teacher", "kd": ["embedded/kd", "embedded/exp_kd"]}
    found = compare(seeds, limit=24, tests="fidelity", floors=False).scores
    agreement = found[found["score"] == "agreement"]
    assert agreement["seeds"].item() == 2 and agreement["value"].item() < agreement["high"].item() == 1


def test_runs_against_other_references_are_not_compared(images, tmp_path):
    for reference in ("teacher", "plain"):
        evaluate([f"embedded/{reference}", "embedded/kd"], images, tests="fidelity", limit=6, runs=tmp_path / reference)
    runs = [next((tmp_path / name / "fidelity").iterdir()) for name in ("teacher", "plain")]
    with pytest.raises(XkdError, match=r"these differ: reference\.digest"):
        compare({"a": runs[0], "b": runs[1]})


def test_of_run_directories_the_forest_shows_the_difference_from_the_first(images, tmp_path):
    models = [f"embedded/{name}" for name in ("teacher", "kd", "plain")]
    evaluate(models, images, tests="fidelity", limit=6, runs=tmp_path)
    runs = {name: next(tmp_path.glob(f"fidelity/embedded_{name}-*")) for name in ("kd", "plain")}
    found = compare(runs)
    rows = found.differences.set_index("score")
    for title, panel in _differences(found).items():
        name, scale = ("agreement", 100) if title.startswith("Agreement") else ("kl", 1)
        assert panel[0].value == scale * rows.loc[name, "value"]


def test_it_keeps_the_contract():
    check_test("fidelity")
