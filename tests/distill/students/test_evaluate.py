"""Models side by side: tables, files and what the answers of single images say of them."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from sklearn.metrics import balanced_accuracy_score, f1_score, log_loss

import distill
from xkd_eval import load_classifier
from xkd_eval.datasets import open_dataset
from xkd_eval.errors import XkdError


@pytest.fixture(scope="module")
def found():
    """Two students and their teacher on 60 images."""
    models = {"kd": "embedded/kd", "plain": "embedded/plain"}
    return distill.evaluate(models, teacher="embedded", limit=60, device="cpu")


def logits_of(model, dataset):
    classifier = load_classifier(model)
    pixels = torch.stack([classifier.preprocess.pixels(dataset.load(place).image) for place in range(len(dataset))])
    with torch.inference_mode():
        return torch.cat([classifier(classifier.preprocess.normalise(image[None])) for image in pixels])


def test_measured_by_hand(teacher, cifar10):
    """Against a loop over single images, of a student and a teacher of other input conventions."""
    dataset = open_dataset(str(cifar10), split="test")
    labels, logits = torch.tensor(dataset.labels), logits_of(teacher, dataset)
    student = distill.evaluate(teacher, cifar10, teacher=teacher, device="cpu")
    ours, theirs = student.models
    assert ours.scores.top1 == pytest.approx((logits.argmax(1) == labels).float().mean().item())
    assert ours.scores.loss == pytest.approx(log_loss(labels, logits.double().softmax(1)), rel=1e-4)
    assert ours.scores.agreement == 1.0
    assert ours.scores.divergence == pytest.approx(0, abs=1e-6)
    assert (theirs.is_teacher, theirs.name, theirs.scores.agreement) == (True, f"{ours.name} (teacher)", None)
    assert theirs.scores.top1 == ours.scores.top1
    assert student.notes == (f"{ours.name!r} and {theirs.name!r} are one file, {teacher}",)
    assert ours.file_bytes == teacher.stat().st_size
    assert (student.table["file_bytes"] == teacher.stat().st_size).all()


def test_two_parts_of_a_file_are_two_models(tmp_path):
    from xkd_eval.classifiers.architectures import build

    networks = {part: build("resnet8", 10).state_dict() for part in ("student", "teacher")}
    torch.save(networks, tmp_path / "both.pth")
    files = [f"{tmp_path / 'both.pth'}#{part}" for part in ("student", "teacher", "teacher")]
    models = dict.fromkeys(("a", "b", "c"), "xkd/resnet8")
    found = distill.evaluate(models, weights=files, limit=20, device="cpu")
    assert [model.file_bytes for model in found.models] == [(tmp_path / "both.pth").stat().st_size] * 3
    assert [note for note in found.notes if "one file" in note] == [
        f"'b' and 'c' are one file, {tmp_path / 'both.pth'}"
    ]


def test_images_of_classes_that_a_model_does_not_know_are_said(teacher, cifar10, tmp_path):
    listed = tmp_path / "list.csv"
    for name in ("class 1", "class 2", "zebra"):
        Image.new("RGB", (32, 32), "red").save(tmp_path / f"{name}.png")
    listed.write_text("path,label\nclass 1.png,class 1\nclass 2.png,class 2\nzebra.png,zebra\n")
    found = distill.evaluate({"it": teacher}, listed)
    assert found.scores["it"].n_images == 2
    assert found.notes == ("it: 1 of 3 images are left out, of classes that it does not know ('zebra')",)


def test_the_parts_of_a_set(teacher, cifar10):
    sizes = {split: distill.evaluate(teacher, cifar10, split=split).models[0] for split in ("train", "test")}
    assert [len(model.ids) for model in sizes.values()] == [350, 100]
    with pytest.raises(XkdError, match=r"^split: unknown value 'tets'; expected one of test, val, train"):
        distill.evaluate(teacher, cifar10, split="tets")


def test_the_predictions_hold_all_scores(found, tmp_path):
    found.write_predictions(tmp_path / "answers.parquet")
    every = pd.read_parquet(tmp_path / "answers.parquet")
    assert set(every["model"]) == set(found.scores)
    for model, rows in every.groupby("model"):
        scores, classes = found.scores[model], found.per_class.query("model == @model")
        line = found.table.set_index("model").loc[model]
        assert len(rows) == scores.n_images == 60
        assert (rows["correct"] == (rows["label"] == rows["predicted"])).all()
        assert rows["correct"].mean() == scores.top1
        assert np.mean([row.label in row.top5 for row in rows.itertuples()]) == scores.top5
        assert -np.log(rows["probability_label"]).mean() == pytest.approx(scores.loss)
        assert [top[0] for top in rows["top5_probabilities"]] == rows["probability_predicted"].tolist()
        assert line["mean_class_accuracy"] == pytest.approx(balanced_accuracy_score(rows["label"], rows["predicted"]))
        assert line["macro_f1"] == pytest.approx(f1_score(rows["label"], rows["predicted"], average="macro"))
        assert (classes["accuracy"].values == rows.groupby("label")["correct"].mean().values).all()
        if scores.agreement is not None:
            assert (rows["teacher"] == rows["predicted"]).mean() == scores.agreement
            assert rows["divergence"].mean() == pytest.approx(scores.divergence)
    names = load_classifier("embedded/kd").class_names
    assert all(names[row.label] == row.label_name for row in every.itertuples())


def test_the_teacher_s_answers_are_its_own(found):
    every = found.predictions.set_index(["model", "image"])
    own, told = every.loc["embedded (teacher)"]["predicted"], every.loc["kd"]["teacher"]
    assert (told.astype(int) == own.loc[told.index]).all()


def test_what_is_written(found, tmp_path):
    for name in ("all.json", "table.csv", "table.md"):
        found.write(tmp_path / name)
    values = json.loads((tmp_path / "all.json").read_text())["models"]
    assert values["kd"]["top1"] == found.scores["kd"].top1
    assert [row["images"] for row in values["kd"]["classes"]] == found.confusion("kd").sum(axis=1).tolist()
    wrong = sum(row["images"] for row in values["kd"]["mistakes"])
    assert wrong == round(60 * (1 - found.scores["kd"].top1))
    table = pd.read_csv(tmp_path / "table.csv").set_index("model")
    assert table.loc["plain", "parameters"] == 19_218
    assert f"| top-1, % | {100 * found.scores['kd'].top1:.2f} |" in (tmp_path / "table.md").read_text()
    found.write_confusion(tmp_path / "confusion.csv")
    matrices = pd.read_csv(tmp_path / "confusion.csv").set_index(["model", "true"])
    pd.testing.assert_frame_equal(matrices.loc["plain"], found.confusion("plain"), check_names=False)
    found.write_confusion(tmp_path / "confusion.png")
    assert (tmp_path / "confusion.png").read_bytes().startswith(b"\x89PNG")


def test_a_file_of_another_kind_is_refused(found, tmp_path):
    for write, name in ((found.write, "a.txt"), (found.write_predictions, "a.csv"), (found.write_confusion, "a.json")):
        with pytest.raises(XkdError, match=r"expected a file that ends in \."):
            write(tmp_path / name)
    former = tmp_path / "file"
    former.write_text("kept")
    with pytest.raises(XkdError, match=r"^predictions .* cannot be written"):
        found.write_predictions(former / "a.parquet")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_notebook_and_a_prompt_are_told(found):
    assert "<td>kd</td>" in found._repr_html_()
    assert repr(found).startswith("<Evaluation on embedded-test: top-1 kd ")
    with pytest.raises(XkdError, match=r"^model: 'kdd' was not evaluated; nearest: kd"):
        found.confusion("kdd")


def test_one_architecture_with_two_files_is_two_rows(tmp_path):
    files = []
    for number in (0, 1):
        module = load_classifier("embedded/kd").model
        with torch.no_grad():
            module.linear.bias += number * torch.arange(10)
        files.append(tmp_path / f"{number}.pth")
        torch.save(module.state_dict(), files[-1])
    rows = distill.evaluate(["embedded/kd", "embedded/kd"], weights=files, limit=30, device="cpu")
    assert [model.name for model in rows.models] == ["embedded/kd", "embedded/kd #2"]
    assert rows.models[0].scores != rows.models[1].scores
    assert rows.notes == ()
    with pytest.raises(XkdError, match=r"^weights: 1 files for 2 models; give one each"):
        distill.evaluate(["embedded/kd", "embedded/kd"], weights=files[0])


def test_explanations_stand_in_the_same_table():
    options = {"measure": ["perturbation", "segmentation"], "measure_limit": 4, "limit": 20, "device": "cpu"}
    found = distill.evaluate("embedded/kd", teacher="embedded", latency=True, **options)
    assert set(found.study.models) == {"embedded (teacher)", "embedded/kd"}
    expected = found.study.result("embedded/kd", "segmentation").summary["pointing_game"]["value"]
    row = found.table.set_index("model").loc["embedded/kd"]
    assert row["segmentation.pointing_game"] == expected
    assert {"top1", "macs", "milliseconds", "perturbation.positive.auc"} <= set(found.table.columns)
    assert found.study.results[0].summary["n_images"] == 4
    told = found.to_dict()["models"]["embedded/kd"]
    assert told["latency"]["dtype"] == "float32"
    assert {(line["test"], line["maps"]) for line in told["explanations"]} == {
        ("perturbation", "cam"),
        ("segmentation", "cam"),
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"measure": "perturbatoin"}, "^measure: .*perturbation"),
        ({"measure": "perturbation", "explainers": "camm"}, "^explainers: .*cam"),
        ({"measure_limit": 5}, "^measure_limit: found without `measure`"),
        ({"measure": "segmentation", "measure_data": "nowhere"}, "^measure_data: 'nowhere' does not exist"),
        ({"teacher": "none.pt"}, "^teacher: .*none.pt"),
        ({"models": "none.pt"}, "^models: .*none.pt"),
        ({"limit": 0}, "^limit: 0 found"),
        ({"limits": 1}, "^limits: unknown argument"),
    ],
)
def test_bad_input_is_named(options, message):
    with pytest.raises(XkdError, match=message):
        distill.evaluate(**{"models": "embedded/kd", "limit": 20, **options})


def test_a_teacher_is_joined_by_its_classes_names(teacher, cifar10):
    """One that knows a class more, and has all of them in another order, agrees with itself."""
    known, other = load_classifier(teacher), load_classifier(teacher)
    order = [*range(9, -1, -1), 0]
    other.model.linear.weight = torch.nn.Parameter(known.model.linear.weight[order])
    other.model.linear.bias = torch.nn.Parameter(known.model.linear.bias[order] + 9 * torch.eye(11)[10])
    other.num_classes, other.class_names = 11, (*reversed(known.class_names), "background")
    ours, theirs = distill.evaluate(known, cifar10, teacher=other, device="cpu").models
    assert ours.scores.agreement == 1
    assert ours.scores.divergence == pytest.approx(0, abs=1e-6)
    assert theirs.scores.top1 == ours.scores.top1
    assert theirs.classes == ours.classes
    other.class_names = tuple(f"thing {number}" for number in range(11))
    with pytest.raises(XkdError, match=r"^teacher: .* does not know 10 of the 10 classes of the data"):
        distill.evaluate(known, cifar10, teacher=other)


def test_models_of_other_classes_have_no_common_teacher(teacher, cifar10):
    other = load_classifier(teacher)
    other.class_names = tuple(reversed(other.class_names))
    assert len(distill.evaluate([teacher, other], cifar10).models) == 2
    with pytest.raises(XkdError, match=r"^teacher: .* have them in another order; evaluate them apart"):
        distill.evaluate([teacher, other], cifar10, teacher=teacher)


def test_answers_that_are_not_finite_are_an_error(teacher, cifar10):
    class Overflow(torch.nn.Module):
        def forward(self, images):
            logits = images.mean((2, 3)) @ torch.ones(3, 10)
            return logits / (images.mean((1, 2, 3))[:, None] > 0.7)  # noise is brighter than the images

    classifier = load_classifier(teacher)
    broken = type(classifier)(Overflow(), classifier.preprocess, name="broken", num_classes=10, head_refusal="none")
    with pytest.raises(XkdError, match=r"^models: broken gives logits that are not finite on some of the images"):
        distill.evaluate(broken, cifar10)


def test_what_the_caller_has_set_changes_nothing():
    alone = distill.evaluate("embedded/kd", limit=20, device="cpu")
    with torch.device("meta"), torch.autocast("cpu", torch.bfloat16):
        assert distill.evaluate("embedded/kd", limit=20, device="cpu").scores == alone.scores
