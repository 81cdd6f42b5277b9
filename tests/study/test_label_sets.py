"""Photographs of several classes through whole studies: digits in pairs, with a list of them or COCO's JSON."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import average_precision_score
from typer.testing import CliRunner

import xkd_eval
from tests.study.conftest import CountedImages
from xkd_eval import XkdError, compare, evaluate, load_classifier, open_dataset, perturbation_test, segmentation_test
from xkd_eval.classifiers import architectures
from xkd_eval.cli import app
from xkd_eval.datasets.embedded import EmbeddedDataset
from xkd_eval.evaluations import TESTS
from xkd_eval.evaluations.scores import STUDYS_COLUMNS
from xkd_eval.study.inputs import unlabelled
from xkd_eval.study.records import summary_schema

N_PHOTOGRAPHS = 8
FEW = {"fractions": (0.3, 0.6), "figures": False}
SIDE = 64


def runs_of(mask: np.ndarray) -> list[int]:
    """Run lengths of a mask, column by column, the first of background."""
    flat = mask.T.flatten()
    ends = np.flatnonzero(np.diff(flat.astype(int))) + 1
    lengths = np.diff([0, *ends, len(flat)]).tolist()
    return [0, *lengths] if flat[0] else lengths


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """Two digits side by side a photograph, one in the last but one, none in the last."""
    digits, root = EmbeddedDataset("test", size=2 * N_PHOTOGRAPHS), tmp_path_factory.mktemp("pairs")
    (root / "photos").mkdir()
    coco = {"images": [], "annotations": [], "categories": []}
    coco["categories"] = [{"id": 10 + index, "name": name} for index, name in enumerate(digits.classes)]
    lines = ["image,label"]
    for number in range(N_PHOTOGRAPHS):
        name, pixels, labels = f"{number}.png", np.zeros((SIDE, 2 * SIDE, 3), np.uint8), []
        for side in range(2 if number < N_PHOTOGRAPHS - 2 else N_PHOTOGRAPHS - 1 - number):
            sample, label = digits.load(2 * number + side), digits.labels[2 * number + side]
            left = side * SIDE
            pixels[:, left : left + SIDE] = np.asarray(sample.image)
            mask = np.zeros((SIDE, 2 * SIDE), bool)
            mask[:, left : left + SIDE] = sample.mask == 1
            x0, y0, x1, y1 = sample.boxes[0].tolist()
            box = [x0 + left, y0, x1 - x0 + 1, y1 - y0 + 1]
            outline = {"size": [SIDE, 2 * SIDE], "counts": runs_of(mask)}
            coco["annotations"].append(
                {"image_id": number, "category_id": 10 + label, "bbox": box, "segmentation": outline}
            )
            labels.append(digits.classes[label])
        Image.fromarray(pixels).save(root / "photos" / name)
        coco["images"].append({"id": number, "file_name": name, "width": 2 * SIDE, "height": SIDE})
        lines.append(f"{name},{';'.join(dict.fromkeys(labels))}")
    (root / "instances.json").write_text(json.dumps(coco))
    (root / "labels.csv").write_text("\n".join(lines))
    return root


@pytest.fixture(scope="module")
def pairs(place):
    return open_dataset(place / "photos", labels=place / "instances.json")


@pytest.fixture(scope="module")
def names(pairs):
    """A classifier of random weights that knows the classes by name, and sees both digits."""
    torch.manual_seed(0)
    made = load_classifier(architectures.build("resnet8", num_classes=10), size=(SIDE, 2 * SIDE))
    made.class_names = EmbeddedDataset("test", size=1).classes
    return made


@pytest.fixture(scope="module")
def scored(names, pairs):
    return perturbation_test(names, pairs, **FEW)


def test_each_label_is_explained(scored, pairs):
    rows = scored.columns
    assert scored.ids == tuple(pairs.ids)
    assert rows["target"].tolist() == rows["label"].tolist() == [pairs.classes.index(label) for label in pairs.labels]
    assert scored.description["protocol"]["target"] == "true"
    assert scored.description["protocol"]["probability"] == "sigmoid"
    assert STUDYS_COLUMNS[-2:] == ("label_found", "photograph")
    assert {*STUDYS_COLUMNS} - {*scored.rows.column_names} == {"reference_hit"}
    assert rows["photograph"].tolist() == list(pairs.label_sets.photographs)
    assert [set(np.flatnonzero(held)) for held in rows["held"]] == [
        {pairs.classes.index(label) for label in labels} for labels in pairs.label_sets.labels
    ]
    clean = np.take_along_axis(rows["clean_logits"], rows["label"][:, None], 1)[:, 0]
    assert rows["clean_probability"] == pytest.approx(1 / (1 + np.exp(-clean)), rel=1e-5)
    assert rows["label_found"].tolist() == (clean > 0).tolist() == scored.right.tolist()


def test_map_of_the_photographs_is_scikit_learns(scored):
    rows = scored.columns
    first = np.unique(rows["photograph"], return_index=True)[1]
    held, logits = rows["held"][first].astype(bool), rows["clean_logits"][first]
    ranked = [index for index in range(10) if held[:, index].any() and not held[:, index].all()]
    expected = np.mean([average_precision_score(held[:, index], logits[:, index]) for index in ranked])
    assert scored.summary["clean_map"]["value"] == pytest.approx(expected)


def test_what_the_summary_says(scored):
    summary = scored.summary
    assert summary["data"]["label_sets"] == {"photographs": N_PHOTOGRAPHS - 1, "unlabelled": 1}
    jsonschema.validate(json.loads(json.dumps(summary)) | {"digest": "0"}, summary_schema())
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(summary | {"clean_map": None}, summary_schema())


def test_a_list_scores_as_coco_does(names, place, scored):
    found = perturbation_test(names, place / "photos", labels=place / "labels.csv", **FEW)
    order = [scored.ids.index(name) for name in found.ids]
    assert sorted(found.ids) == sorted(scored.ids)
    for direction in ("positive", "negative"):
        ours, theirs = (result.columns[f"{direction}_logits"] for result in (found, scored))
        assert np.array_equal(ours, theirs[order])


def test_a_photograph_is_classified_once(counted, monkeypatch):
    class Twice(CountedImages):
        """Each digit under its label, and under the next class as well."""

        def __init__(self):
            super().__init__(4)
            inner = self.ids
            self.ids = [f"{name}#{half}" for name in inner for half in "ab"]
            self.labels = [(label + half) % 10 for label in self.labels for half in (0, 1)]
            held = [frozenset(self.labels[2 * place : 2 * place + 2]) for place in range(4)]
            self.label_sets = xkd_eval.datasets.base.LabelSets(
                tuple(place for place in range(4) for _ in "ab"), tuple(labels for labels in held for _ in "ab"), 0
            )

        def load(self, position):
            return super().load(position // 2)

        def content_hash(self, position):
            return super().content_hash(position // 2)

    forwarded = []
    network = xkd_eval.engines.network.Network
    clean = network.clean
    monkeypatch.setattr(
        network, "clean", lambda self, images, ids: forwarded.append(len(ids)) or clean(self, images, ids)
    )
    found = segmentation_test(counted.models["teacher"], Twice(), explainer=counted.explainer, batch_size=3)
    # Batches of three hold two photographs each, but for the last of two images.
    assert forwarded == [2, 2, 1]
    assert len(counted.explainer.explained) == len(found.ids) == 8
    by_batch = segmentation_test(counted.models["teacher"], Twice(), explainer=counted.explainer, batch_size=8)
    assert by_batch.rows.equals(found.rows)


def test_a_run_that_is_continued_is_the_same(names, pairs, tmp_path, scored):
    def stop(what, done, total):
        if done >= 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        perturbation_test(names, pairs, output=tmp_path / "run", batch_size=3, progress=stop, **FEW)
    again = perturbation_test(names, pairs, output=tmp_path / "run", batch_size=5, **FEW)
    assert 0 < again.continued < len(pairs)
    whole = perturbation_test(names, pairs, output=tmp_path / "whole", **FEW)
    for name in whole.rows.column_names:
        assert again.rows[name].equals(whole.rows[name]), name
        assert whole.rows[name].equals(scored.rows[name]), name
    summaries = [json.loads((tmp_path / name / "summary.json").read_text()) for name in ("run", "whole")]
    for summary in summaries:
        del summary["images_per_second"], summary["digest"]
    assert summaries[0] == summaries[1]
    read = xkd_eval.EvaluationResult.read(tmp_path / "run")
    assert read.test.protocol == again.test.protocol
    assert read.scores.equals(again.scores)


def test_maps_are_scored_against_the_objects_of_their_label(names, pairs):
    found = segmentation_test(names, pairs, explainer="oracle")
    assert found.summary["pointing_game"]["value"] == found.summary["miou"]["value"] == 1
    # Both digits of a photograph are objects of an image of their own.
    other = perturbation_test(names, pairs, explainer="oracle", direction="positive", **FEW).columns
    pixels = other["positive_probability"]
    assert not np.array_equal(pixels[0], pixels[1])


def test_boxes_of_the_label_are_found(names, pairs):
    found = evaluate(names, pairs, tests=["localisation"], explainers=["oracle"]).results[0]
    assert found.summary["fixed"]["gt_known"]["value"] == 1
    assert not any("top1" in spec.name for spec in found.test.specs())


@pytest.mark.parametrize("name", [name for name in TESTS.names() if not TESTS[name].takes_label_sets])
def test_tests_of_one_class_a_photograph_are_refused(name, names, pairs):
    with pytest.raises(XkdError, match=rf"^tests {name}: it takes one label a photograph, and those of photos have"):
        evaluate({"a": names, "b": names}, pairs, tests=[name, "complexity"])


def test_the_core_leaves_them_out(names, pairs):
    study = evaluate(names, pairs, tests=["core"], limit=2, target="true")
    assert {result.test.name for result in study.results} == {
        *("insertion_deletion", "confidence", "localisation", "randomisation"),
    }
    assert "grid_pointing is left out: it takes one label a photograph, and these have several" in study.left_out
    assert "left out of photos, without a label: 1 photograph" in study.left_out


@pytest.mark.parametrize("name", ["insertion_deletion", "confidence", "road", "adcc", "aopc", "irof"])
def test_probabilities_are_the_classs_own(name, names, pairs):
    """Another class that rises moves a softmax, and no sigmoid: an answer that is the same for all masks is flat."""
    kind = TESTS[name]
    rules = xkd_eval.evaluations.protocol.of_label_sets(xkd_eval.evaluations.Rules())
    assert kind.create(rules, kind.Options()).protocol.probability == "sigmoid"
    found = evaluate(names, pairs, tests=[name], explainers=["centre"], limit=2).results[0].columns
    logits = perturbation_test(names, pairs, explainer="centre", limit=2, **FEW).columns["clean_logit"]
    clean = 1 / (1 + np.exp(-logits.astype(float)))
    known = {
        "insertion_deletion": lambda rows: rows["deletion_curve"][:, 0],
        "confidence": lambda rows: rows["clean"],
        "road": lambda rows: rows["road_morf_curve"][:, 0],
        "aopc": lambda rows: rows["aopc_morf_curve"][:, 0],
    }
    if name in known:
        assert known[name](found) == pytest.approx(clean, rel=1e-4)
    else:
        assert np.isfinite(found[name]).all()


def test_two_models_are_compared(names, pairs, tmp_path):
    other = load_classifier(architectures.build("resnet8", num_classes=10), size=(SIDE, 2 * SIDE))
    other.class_names, other.name = names.class_names, "other"
    found = compare(
        {"teacher": names, "other": other},
        pairs,
        tests=["perturbation", "agreement", "segmentation"],
        output=tmp_path / "report",
        gallery=3,
        fractions=(0.3, 0.6),
    )
    scores = found.own(found.scores)
    assert {"clean_map", "positive.map_auc", "negative.probability_auc"} <= set(scores["score"])
    assert not scores["score"].str.contains("accuracy").drop(scores.index[scores["score"] == "pixel_accuracy"]).any()
    tested = found.differences[found.differences["score"] == "positive.probability_auc"]
    assert tested["p"].notna().all()
    # A signed-rank test of photographs, of which there are fewer than of their labels.
    assert set(found.images["right"].dropna()) <= {True, False}
    page = (tmp_path / "report" / "report.html").read_text()
    assert "mAP" in page and "Top-1 accuracy" not in page
    assert any("without a label: 1 photograph" in note for note in found.left_out)


def test_intervals_are_of_photographs(names, pairs):
    from xkd_eval.comparison.groups import SeedGroup

    result = perturbation_test(names, pairs, **FEW)
    group = SeedGroup.of("a", [result], 0)
    spec = result.test.spec("positive.probability_auc")
    values, photographs = spec.per_image(result.columns), result.columns["photograph"]
    expected = [values[photographs == number].mean() for number in np.unique(photographs)]
    assert group.per_image(spec) == pytest.approx(expected)
    assert group.draws[0].left_out["clean_probability"].shape == (N_PHOTOGRAPHS - 1,)
    without = [values[photographs != number].mean() for number in np.unique(photographs)]
    assert group.draws[0].values(spec.compute)[2] == pytest.approx(without)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"target": "predicted"}, r"^target predicted: photos has several labels a photograph, each of which is expl"),
        (
            {"protocol": "exp-kd"},
            r"^protocol exp-kd: it explains the predicted class, and the photographs have several",
        ),
    ],
    ids=["target", "protocol"],
)
def test_another_class_is_not_explained(names, pairs, options, said):
    with pytest.raises(XkdError, match=said):
        perturbation_test(names, pairs, **options)


def test_a_test_that_was_made_for_one_class_a_photograph(names, pairs):
    made = TESTS["confidence"].create(xkd_eval.evaluations.Rules(), TESTS["confidence"].Options())
    with pytest.raises(XkdError, match=r"^tests: confidence was made for target 'predicted', and the study has 'true'"):
        evaluate(names, pairs, tests=[made])


def test_masks_of_another_kind_are_a_study_of_their_own(names, pairs):
    with pytest.raises(XkdError, match=r"^masks: of these and data, one has several labels a photograph and one has"):
        evaluate(names, pairs, tests=["perturbation", "segmentation"], masks="embedded")


def test_a_label_that_the_model_does_not_know_is_skipped(names, place, tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text("0.png,zero;eel\n1.png,one\n2.png,two\n")
    found = perturbation_test(names, place / "photos", labels=path, **FEW)
    assert found.summary["skipped"]["images"] == [{"id": "0.png#eel", "reason": "no label among the model's classes"}]
    assert found.summary["n_images"] == 3
    path.write_text("0.png,ant;eel\n")
    with pytest.raises(XkdError, match=r"^data: none of the 2 labels of photos \(ant, eel, ...\) is among the 10 cl"):
        perturbation_test(names, place / "photos", labels=path, **FEW)


def test_a_sample_is_of_labels(names, pairs):
    found = perturbation_test(names, pairs, limit=5, **FEW)
    assert found.summary["n_images"] == 5
    assert found.summary["data"]["label_sets"]["unlabelled"] == 1
    assert unlabelled(EmbeddedDataset("test", size=1)) == []


def test_the_command_line(place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shown = ["--data", str(place / "photos"), "--labels", str(place / "labels.csv"), "--size", "64x128"]
    said = CliRunner().invoke(app, ["perturbation", *shown, "--fractions", "0.5", "--no-figures"])
    assert said.exit_code == 0, said.output
    assert "labels of 7 photographs of photos" in " ".join(said.output.split())
    assert "1 photograph left out, without a label" in said.output
    assert "mAP" in said.output and "accuracy" not in said.output


def test_bad_input_on_the_command_line_is_one_line(place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "other.json"
    path.write_text('{"images": []}')
    said = CliRunner().invoke(app, ["segmentation", "--data", str(place / "photos"), "--labels", str(path)])
    assert isinstance(said.exception, XkdError)  # which the console makes a line of
    assert str(said.exception).startswith(f"--labels: '{path}': annotations: missing; add it; expected COCO's JSON of ")
