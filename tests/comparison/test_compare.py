"""Comparisons with a known answer: a model with itself, with a copy of other class order, floors, run directories."""

import copy
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from tests.statistics.exact import exact_areas, exact_effect, exact_p
from xkd_eval import compare, load_classifier, perturbation_test
from xkd_eval.comparison.headlines import headlines
from xkd_eval.comparison.result import Comparison
from xkd_eval.comparison.verdict import verdict
from xkd_eval.datasets.embedded import EmbeddedDataset
from xkd_eval.errors import XkdError


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
    for headline in headlines(with_itself):
        assert headline.is_of_agreement or headline.claim("itself", "teacher") == 0


def test_each_figure_of_the_report_is_a_call_away(with_itself):
    heads = {"Accuracy ↑", "mIoU ↑"}
    drawn = {text.get_text() for text in with_itself.plot("differences").texts}
    assert heads <= drawn and {"itself", "plain"} <= drawn
    assert "Rank correlation" in {text.get_text() for text in with_itself.plot("agreement").texts}
    curves = {text.get_text() for text in with_itself.plot().texts}
    assert {"teacher", "itself", "plain"} <= curves and not heads & curves


def test_scores_are_those_of_the_tests(with_itself, images):
    alone = perturbation_test("embedded/plain", images).summary
    for score in ("clean_accuracy", "positive.auc", "negative.auc_relative"):
        value = alone
        for key in score.split("."):
            value = value[key]
        assert of(with_itself.scores, model="plain", maps="cam", score=score)["value"].item() == pytest.approx(
            value["value"]
        )


def test_a_score_has_one_interval_in_a_run_and_in_a_comparison(with_itself, images):
    alone = perturbation_test("embedded/plain", images).summary
    for path in (("clean_accuracy",), ("between", "auc"), ("negative", "auc_relative")):
        found = alone
        for key in path:
            found = found[key]
        row = of(with_itself.scores, model="plain", maps="cam", score=".".join(path))
        assert row[["low", "high"]].to_numpy()[0].tolist() == found["ci95"]


def test_students_are_held_against_each_other_by_their_agreement(with_itself):
    (row,) = of(with_itself.differences, test="agreement", score="spearman").to_dict("records")
    assert (row["model"], row["other"]) == ("plain", "itself") and row["value"] < 0
    means = of(with_itself.agreement, measure="spearman", target="predicted", outcome="all", maps="cam")
    values = means.set_index("model")["value"]
    assert row["value"] == pytest.approx(values["plain"] - values["itself"])


def test_tests_of_areas_are_those_of_exact_arithmetic(with_itself, images):
    fractions = perturbation_test("embedded/plain", images, limit=2).test.protocol.fractions
    for score in ("positive", "negative"):
        areas = []
        for model in ("embedded/exp_kd", "embedded/plain"):
            columns = perturbation_test(model, images, direction=score).columns
            areas.append(exact_areas(np.column_stack([columns["clean_hit"], columns[f"{score}_hit"]]), fractions))
        differences = [ours - theirs for theirs, ours in zip(*areas, strict=True)]
        row = of(with_itself.differences, model="plain", other="teacher", score=f"{score}.auc")
        assert row["p"].item() == pytest.approx(exact_p(differences), abs=1e-12)
        assert row["effect"].item() == pytest.approx(exact_effect(differences), abs=1e-12)


def test_the_images_that_all_classify_correctly_are_counted(with_itself, images):
    hits = [
        perturbation_test(model, images, direction="positive").rows["clean_hit"].to_numpy(zero_copy_only=False)
        for model in ("embedded/exp_kd", "embedded/plain")
    ]
    rows = of(with_itself.scores, score="positive.auc_common")
    assert set(rows["n_images"]) == {int((hits[0] & hits[1]).sum())}


def test_floors_and_oracle_stand_beside_every_model(with_itself):
    for score in ("positive.auc", "positive.auc_common", "miou"):
        found = of(with_itself.scores, score=score, model="plain")
        assert set(found["maps"]) == {"cam", "random", "centre", "edges", "fake_cam", "oracle"}
    assert of(with_itself.scores, score="miou", model="plain", maps="oracle")["value"].item() > 0.9


def test_transfer_of_a_model_to_itself_is_its_own_score(with_itself):
    own = of(with_itself.scores, model="teacher", maps="cam", score="positive.auc")["value"].item()
    crossed = of(with_itself.transfer, maps_of="itself", measured_on="teacher", score="positive.auc")
    assert crossed["value"].item() == pytest.approx(own)
    models = with_itself.transfer[with_itself.transfer["maps_of"].isin(with_itself.models)]
    assert len(models) == 4 * 3  # pairs x (positive, negative, between)
    floor = of(with_itself.transfer, maps_of="edges", measured_on="plain", score="positive.auc")["value"].item()
    assert floor == of(with_itself.scores, model="plain", maps="edges", score="positive.auc")["value"].item()


def test_a_copy_with_permuted_classes_has_the_same_maps(images, tmp_path):
    first = load_classifier("embedded/exp_kd")
    order = np.random.default_rng(0).permutation(10)
    other = copy.deepcopy(first)
    head = other.model.get_submodule(other.head.linear)
    head.weight.data, head.bias.data = head.weight.data[order], head.bias.data[order]
    other.class_names = tuple(first.class_names[index] for index in order)
    found = compare({"first": first, "other": other}, images, floors=False)
    rows = of(found.agreement, measure="spearman", target="predicted", outcome="all")
    assert rows["value"].item() == pytest.approx(1)
    assert set(found.agreement["target"]) == {"predicted"}  # an index means another class there
    assert of(found.differences, score="clean_accuracy")["value"].item() == 0


def test_it_continues_and_reads_run_directories(images, tmp_path):
    models = {"a": "embedded/exp_kd", "b": "embedded/plain"}
    first = compare(models, images, floors=False, output=tmp_path)
    seen = []
    again = compare(models, images, floors=False, output=tmp_path, progress=lambda *what: seen.append(what))
    pd.testing.assert_frame_equal(first.differences, again.differences)
    assert seen == []
    place = tmp_path / "runs" / "perturbation"
    runs = {label: str(next(place.glob(f"{model.replace('/', '_')}-cam-*"))) for label, model in models.items()}
    from_runs = compare(runs)
    with pytest.raises(XkdError, match="plot: finished runs hold no maps"):
        from_runs.plot("agreement")
    ours = of(first.differences, score="positive.auc")[["value", "low", "high", "p"]].to_numpy(dtype=float)
    theirs = of(from_runs.differences, score="positive.auc")[["value", "low", "high", "p"]].to_numpy(dtype=float)
    np.testing.assert_allclose(ours, theirs)
    assert (tmp_path / "tables" / "differences.csv").is_file()
    printed = (tmp_path / "tables" / "scores-perturbation.tex").read_text()
    assert r"\toprule" in printed and r"Negative AUC $\uparrow$" in printed


def test_equal_names_are_told_apart(images):
    found = compare(["embedded/plain", "embedded/plain"], images, floors=False, limit=10)
    assert found.models == ("plain", "plain #2")


def test_floors_stand_beside_agreement_and_differences(with_itself):
    beside = of(with_itself.agreement, model="teacher", measure="spearman", outcome="all")
    assert set(beside["maps"]) == {"random", "centre", "edges", "fake_cam", "oracle"}
    assert abs(of(beside, maps="random")["value"].item()) < 0.1
    own = of(with_itself.differences, model="plain", other="plain")
    assert set(own["other_maps"]) == {"random", "centre", "edges", "fake_cam", "oracle"}
    assert "clean_accuracy" not in set(own["score"])
    better = of(own, score="negative.auc", other_maps="random")
    assert better["low_corrected"].item() > 0
    assert better["low_corrected"].item() <= better["low"].item() <= better["high"].item()


def test_curves_start_at_the_accuracy_and_have_the_area(with_itself):
    points = of(with_itself.curves, model="plain", maps="cam", score="negative.curve")
    accuracy = of(with_itself.scores, model="plain", maps="cam", score="clean_accuracy")["value"].item()
    area = of(with_itself.scores, model="plain", maps="cam", score="negative.auc")["value"].item()
    assert points["value"].iloc[0] == pytest.approx(accuracy)
    assert np.trapezoid(points["value"], points["x"]) == pytest.approx(area)
    assert (points["low"] <= points["value"]).all()


def test_images_hold_every_models_answer_and_agreement(with_itself, images):
    own = of(with_itself.images, model="plain", maps="cam")
    assert list(own["id"]) == list(images.ids)
    accuracy = of(with_itself.scores, model="plain", maps="cam", score="clean_accuracy")["value"].item()
    assert own["right"].mean() == pytest.approx(accuracy)
    mean = of(with_itself.agreement, model="plain", target="predicted", measure="ssim", outcome="all")["value"].item()
    assert own["ssim"].mean() == pytest.approx(mean)


def test_seeds_of_one_name_are_pooled(images, tmp_path):
    models = ["embedded/teacher", "kd=embedded/kd", "kd=embedded/cat_kd", "plain=embedded/plain"]
    found = compare(models, images, floors=False, runs=tmp_path)
    assert found.models == ("teacher", "kd", "plain")
    both = [
        perturbation_test(f"embedded/{name}", images).summary["positive"]["auc"]["value"] for name in ("kd", "cat_kd")
    ]
    pooled = of(found.scores, model="kd", score="positive.auc")
    assert pooled["value"].item() == pytest.approx(np.mean(both))
    assert pooled["seeds"].item() == 2
    difference = of(found.differences, model="kd", other="teacher", score="positive.auc")
    assert difference["low"].item() <= difference["value"].item() <= difference["high"].item()
    # A test over images would say nothing about seeds.
    assert np.isnan(difference["p"].item())
    assert set(of(found.agreement, model="kd")["seeds"]) == {2}
    assert set(found.images["model"]) == {"teacher", "kd (1)", "kd (2)", "plain"}
    mapping = {"teacher": "embedded/teacher", "kd": ["embedded/kd", "embedded/cat_kd"]}
    from_mapping = compare(mapping, images, floors=False, runs=tmp_path)
    assert of(from_mapping.scores, model="kd", score="positive.auc")["value"].item() == pooled["value"].item()


def test_explainers_side_by_side_are_comparable(images, tmp_path):
    for name in ("cam", "gradcam", "random"):
        perturbation_test("embedded/exp_kd", images, output=tmp_path / name, explainer=name, figures=False)
    found = compare([tmp_path / name for name in ("cam", "gradcam", "random")])
    assert found.models == ("cam", "gradcam", "random")
    assert list(of(found.scores, score="positive.auc")["maps"]) == ["cam", "gradcam", "random"]
    assert of(found.differences, score="negative.auc", model="random", other="cam")["high"].item() < 0
    assert of(found.differences, score="clean_accuracy", model="gradcam", other="cam")["value"].item() == 0


@pytest.mark.parametrize("options", [{"protocol": "exp-kd"}, {"resize": "crop", "crop_fraction": 0.6}])
def test_the_references_class_is_explained_by_the_rules_of_the_test(options):
    few, tests = EmbeddedDataset("test", size=12), ["segmentation", "agreement"]
    found = compare(["embedded/teacher", "embedded/plain"], few, floors=False, tests=tests, **options)
    answers = found.images.pivot(index="id", columns="model", values="predicted")
    assert (answers["teacher"] == answers["plain"]).any()
    both = of(found.agreement, model="plain", measure="spearman", outcome="both right").set_index("target")["value"]
    # Where both are right they predict one class: whose prediction is explained makes no difference.
    assert both["predicted"] == pytest.approx(both["reference"], abs=1e-3)


def test_of_the_labelled_class_there_is_one_agreement():
    found = compare(
        ["embedded/teacher", "embedded/plain"], EmbeddedDataset("test", size=8), floors=False, target="true"
    )
    assert set(found.agreement["target"]) == {"true"}
    assert len(found.images.dropna(subset=["spearman"])) == 8


def test_one_image_carries_no_claim():
    found = compare(["embedded/teacher", "embedded/plain"], EmbeddedDataset("test", size=1), floors=False)
    assert found.differences["low"].isna().all()
    assert not any(headline.claim("plain", "teacher") for headline in headlines(found))
    assert verdict(found).startswith("The images do not tell whether plain explains itself better or is more accurate")


def test_a_floor_may_be_the_explainer(tmp_path):
    few = EmbeddedDataset("test", size=4)
    found = compare(["embedded/teacher", "embedded/plain"], few, explainer="random", output=tmp_path)
    assert set(of(found.scores, score="miou")["maps"]) == {"random", "centre", "edges", "fake_cam", "oracle"}
    again = compare(["embedded/teacher", "embedded/plain"], few, explainer="edges", floors=False, output=tmp_path)
    assert set(again.scores["maps"]) == {"edges", "none"}  # fidelity needs no maps


def test_images_skipped_for_one_model_are_left_out_for_all(images, tmp_path):
    teacher, plain = (load_classifier(f"embedded/{name}") for name in ("teacher", "plain"))
    plain.class_names = tuple("none" if name == "nine" else name for name in plain.class_names)
    named = copy.copy(images)
    named.labels, named.label_kind = [teacher.class_names[int(label)] for label in images.labels], "name"
    found = compare({"teacher": teacher, "plain": plain}, named, floors=False)
    kept = sum(label != "nine" for label in named.labels)
    assert 0 < kept < len(images)
    assert set(of(found.scores, score="positive.auc")["n_images"]) == {kept}
    assert found.images["id"].nunique() == kept


def test_directories_of_one_direction_are_compared_in_it(images, tmp_path):
    perturbation_test("embedded/exp_kd", images, output=tmp_path / "a", direction="positive", figures=False)
    perturbation_test("embedded/plain", images, output=tmp_path / "b", figures=False)
    for order in (("a", "b"), ("b", "a")):
        found = compare([tmp_path / name for name in order], output=tmp_path / "".join(order))
        assert "positive.auc" in set(found.differences["score"])
        assert "negative.auc" not in set(found.differences["score"])


def test_areas_of_equal_hits_tie(with_itself, images):
    rows = perturbation_test("embedded/plain", images).rows
    curve = np.concatenate([rows["clean_hit"].to_numpy()[:, None], np.stack(rows["positive_hit"].to_numpy())], axis=1)
    # Steps of 0.1 or half of it: twenty times an area is a whole number.
    areas = np.trapezoid(curve.astype(float), dx=0.1, axis=1).round(12)
    assert set(np.round(20 * areas, 6) % 1) == {0}


def test_an_unnamed_model_is_not_pooled_with_a_named_one(images):
    models = ["embedded/teacher", "teacher=embedded/plain", "embedded/kd"]
    found = compare(models, images, floors=False, limit=4)
    assert found.models == ("teacher #2", "teacher", "kd")


class Turned(EmbeddedDataset):
    """The same ids, and other photographs."""

    def load(self, position):
        sample = super().load(position)
        return replace(sample, image=sample.image.rotate(180))


def test_kept_maps_are_of_their_data_set_alone(tmp_path):
    models, images, turned = ["embedded/teacher", "embedded/plain"], EmbeddedDataset(size=6), Turned(size=6)
    turned.name = "turned"
    options = {"floors": False, "tests": ["perturbation", "agreement"], "direction": "positive"}
    for dataset in (images, turned):
        compare(models, dataset, runs=tmp_path, **options)
    continued = compare([*models, "embedded/kd"], images, runs=tmp_path, **options)
    whole = compare([*models, "embedded/kd"], images, **options)
    for name in ("transfer", "agreement"):
        pd.testing.assert_frame_equal(getattr(continued, name), getattr(whole, name))


def test_kept_maps_are_of_the_photographs_and_not_of_the_masks(tmp_path):
    photographs, masks = EmbeddedDataset(size=6), EmbeddedDataset("train", size=4)
    options = {"floors": False, "tests": ["segmentation", "perturbation", "agreement"], "direction": "positive"}
    found = compare(["embedded/teacher", "embedded/plain"], photographs, masks=masks, output=tmp_path, **options)
    folder = found.pictured.maps["plain"]
    assert {file.stem for file in folder.glob("*.npy")} == set(photographs.ids)


def test_a_model_may_be_given_under_two_names(tmp_path):
    models = ["embedded/teacher", "a=embedded/kd", "b=embedded/kd"]
    options = {"floors": False, "limit": 6, "direction": "positive"}
    found = compare(models, runs=tmp_path, **options)
    pd.testing.assert_frame_equal(found.scores, compare(models, **options).scores)
    assert found.models == ("teacher", "a", "b")


def test_maps_of_the_true_class_are_kept_where_there_is_a_label(images, tmp_path):
    few = EmbeddedDataset("test", size=4)
    names = load_classifier("embedded/kd").class_names
    few.labels = ["nameless", *(names[int(label)] for label in few.labels[1:])]
    few.label_kind = "name"
    models = ["embedded/teacher", "embedded/plain"]
    options = {"floors": False, "explainer": "gradcam", "target": "true", "output": tmp_path}
    found = compare(models, few, **options)
    assert set(found.scores["n_images"]) == {3}
    seen = []
    compare(models, few, **options, progress=lambda *at: seen.append(at))
    assert not seen
    assert len(list((tmp_path / "runs" / "maps").rglob("*.npy"))) == 2 * 3


def test_segmentation_and_agreement_may_be_on_two_sets(tmp_path):
    models, tests = ["embedded/teacher", "embedded/plain"], ["segmentation", "agreement"]
    photographs, masks = EmbeddedDataset("test", size=4), EmbeddedDataset("train", size=4)
    found = compare(models, photographs, masks=masks, tests=tests, floors=False, output=tmp_path)
    assert len(found.agreement)
    assert (tmp_path / "report.html").is_file()
