"""What a card says: read back by the hub's own library, and by a renderer of Markdown."""

import re
from dataclasses import replace

import pytest
import torch
import yaml
from huggingface_hub import ModelCard as HubCard
from huggingface_hub import metadata_load
from huggingface_hub.repocard_data import model_index_to_eval_results
from markdown_it import MarkdownIt

from xkd_eval import (
    compare,
    evaluate,
    load_classifier,
    model_card,
    perturbation_test,
    save_checkpoint,
    segmentation_test,
)
from xkd_eval.assets import embedded_classifier_path
from xkd_eval.classifiers import architectures
from xkd_eval.classifiers.checkpoint import read_checkpoint
from xkd_eval.errors import XkdError

HOSTILE = "](http://x) <b>\x1b[31m\u202e|`*_\n---\n# h"
OPTIONS = {"fractions": [0.5], "limit": 12}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run of embedded/kd."""
    directory = tmp_path_factory.mktemp("runs") / "kd"
    perturbation_test("embedded/kd", output=directory, **OPTIONS)
    return directory


@pytest.fixture
def checkpoint(tmp_path):
    """A file of embedded/kd that says more of its training than the one that ships."""
    kept = read_checkpoint(embedded_classifier_path("kd"))
    training = {
        "train_images": 8000,
        "test_images": 1000,
        "trained": "ab" * 32,
        "teachers": {"teacher": {"digest": "cd" * 32, "test_top1": 0.925}},
    }
    save_checkpoint(replace(kept, training=training), tmp_path / "student.pt")
    return tmp_path / "student.pt"


def written(card, tmp_path):
    return card.write(tmp_path / "hub" / "README.md")


def test_the_hubs_library_reads_back_every_score_with_its_interval(run, tmp_path):
    path = written(model_card("embedded/kd", runs=[run], license="apache-2.0", name="mine"), tmp_path)
    found = metadata_load(path)
    assert (found["license"], found["pipeline_tag"], found["library_name"]) == (
        "apache-2.0",
        "image-classification",
        "xkd-eval",
    )
    name, results = model_index_to_eval_results(found["model-index"])
    by_type = {result.metric_type: result for result in results}
    summary = perturbation_test("embedded/kd", output=run, **OPTIONS).summary
    negative = by_type["perturbation.negative.auc"]
    assert name == "mine" and negative.task_type == "image-classification"
    assert negative.metric_value == summary["negative"]["auc"]["value"]
    assert negative.metric_args["ci95"] == list(summary["negative"]["auc"]["ci95"])
    assert negative.metric_args["protocol_hash"] == summary["protocol"]["hash"]
    assert negative.dataset_revision == summary["data"]["digest"]
    assert (negative.dataset_name, negative.metric_args["images"]) == ("embedded-test", 12)
    assert HubCard.load(path).data.to_dict()["model-index"] == found["model-index"]


def test_the_accuracy_is_that_of_the_rows_and_said_once(run):
    card = model_card("embedded/kd", runs=[run])
    (accuracy,) = [score for score in card.scores if "accuracy" in score.spec.name]
    rows = perturbation_test("embedded/kd", output=run, **OPTIONS).columns
    assert accuracy.value == pytest.approx((rows["label"] == rows["predicted"]).mean())
    assert accuracy.interval[0] <= accuracy.value <= accuracy.interval[1]


def test_runs_are_read_and_nothing_is_computed(run, monkeypatch):
    monkeypatch.setattr("xkd_eval.card.card.evaluate", None)
    computed = model_card("embedded/kd", runs=[run])
    assert [*computed.figures] == ["perturbation-cam-perturbation_curves.png"]
    assert computed.text == model_card("embedded/kd", runs=[run.parent]).text  # a folder that holds it


def test_what_is_computed_is_what_a_run_has(run):
    computed = model_card("embedded/kd", "embedded", photographs=0, **OPTIONS)
    assert computed.text == model_card("embedded/kd", runs=[run]).text


def test_runs_of_other_models_are_refused_or_passed_over(run, tmp_path):
    with pytest.raises(
        XkdError, match=r"^runs: '.*kd' is of embedded/kd, whose weights .*; this model's is .{12}: name"
    ):
        model_card("embedded/plain", runs=[run])
    with pytest.raises(XkdError, match=r"^runs: '.*' holds no finished run of this model \(1 of other models found\)"):
        model_card("embedded/plain", runs=[run.parent])
    with pytest.raises(XkdError, match=r"^runs: .*\(none found\); name run directories"):
        model_card("embedded/plain", runs=[tmp_path])


def test_several_data_sets_and_tests_stand_in_tables_of_their_own(run, tmp_path):
    segmentation_test("embedded/kd", limit=6, output=tmp_path / "masks")
    text = model_card("embedded/kd", runs=[run, tmp_path / "masks"]).text
    assert "12 images of embedded-test" in text and "6 images of embedded-test" in text
    assert text.count("| test | maps | score | value | protocol |") == 2


def test_it_says_how_it_was_trained(checkpoint):
    text = model_card(checkpoint).text
    assert "losses: ce (weight 0.1) and kd (weight 0.9, temperature 4)" in text
    assert "of the recipe quickstart/teacher, right on 92.50 % of the test images, digest cdcdcdcdcdcd" in text
    assert "data: embedded, 8,000 training images, digest abababababab" in text
    assert "6 epochs, batches of 32, adamw, learning rate 0.004, onecycle, fp32, seed 0" in text
    assert "of 1,000 test images" in text
    assert 'load_classifier("student.pt")' in text
    assert {"kd", "knowledge-distillation"} <= set(yaml.safe_load(text.split("---")[1])["tags"])


def test_where_files_lie_here_is_said_to_nobody(checkpoint):
    kept = read_checkpoint(checkpoint)
    private = {"teacher": {"model": "/home/me/secret/t.pt,size=32"}, "data": {"path": "../secret/photos/"}}
    save_checkpoint(replace(kept, recipe={**kept.recipe, **private}), checkpoint)
    text = model_card(checkpoint).text
    assert "secret" not in text and str(checkpoint.parent) not in text
    assert "- teacher: t.pt, right on 92.50 %" in text and "- data: photos, 8,000 training images" in text


def test_how_to_load_it_loads_it(checkpoint, monkeypatch):
    monkeypatch.chdir(checkpoint.parent)
    block = re.search(r"```python\n(.*?)```", model_card(checkpoint).text, re.DOTALL)[1]
    names = {"images": torch.zeros(1, 3, 40, 40)}
    exec(block, names)
    assert names["logits"].shape == (1, 10)


def test_a_model_without_a_record_has_a_card_too(tmp_path):
    text = model_card("xkd/resnet8,weights=" + str(weights_of(tmp_path)) + ",size=32,mean=0.5,std=0.5").text
    assert "How it was trained" not in text and "## What it is" in text and "How to load it" not in text
    assert metadata_load(_file(tmp_path, text))["tags"] == ["image-classification", "explainability"]


def weights_of(tmp_path):
    torch.save(architectures.build("resnet8", num_classes=3).state_dict(), tmp_path / "w.pt")
    return tmp_path / "w.pt"


def _file(tmp_path, text):
    (tmp_path / "card.md").write_text(text)
    return tmp_path / "card.md"


def test_weights_that_it_started_from_are_its_base(checkpoint):
    kept = read_checkpoint(checkpoint)
    student = {"architecture": "timm/resnet18.a1_in1k", "weights": "pretrained"}
    save_checkpoint(replace(kept, recipe={**kept.recipe, "student": student}), checkpoint)
    assert "base_model: timm/resnet18.a1_in1k\n" in model_card(checkpoint).text
    assert "base_model: a/b\n" in model_card(checkpoint, base_model="a/b").text
    assert "base_model" not in model_card("embedded/kd").text


def test_names_from_outside_are_text_and_nothing_else(checkpoint, tmp_path):
    kept = read_checkpoint(checkpoint)
    losses = [{"method": HOSTILE, "weight": 1.0}]
    names = (HOSTILE, *kept.class_names[1:])
    hostile = replace(kept, recipe={**kept.recipe, "losses": losses}, class_names=names, versions={HOSTILE: HOSTILE})
    save_checkpoint(hostile, checkpoint)
    path = written(model_card(checkpoint, name=HOSTILE, tags=[HOSTILE], license=HOSTILE), tmp_path)
    text = path.read_text()
    assert "\x1b" not in text and "\u202e" not in text
    found = metadata_load(path)
    shown = r"](http://x) <b>\x1b[31m\u202e|`*_\n---\n# h"
    assert shown in found["tags"] and found["license"] == shown
    page = MarkdownIt("gfm-like", {"linkify": False}).render(HubCard.load(path).text)
    assert "<b>" not in page and "<a " not in page
    assert page.count("<h1>") == 1 and page.count("&lt;b&gt;") >= 3


def test_pictures_stand_where_the_card_refers_to_them(tmp_path):
    path = written(model_card("embedded/kd", "embedded", photographs=2, **OPTIONS), tmp_path)
    named = re.findall(r"!\[[^\]]*\]\((.+?)\)", path.read_text())
    assert len(named) == 2 and all((path.parent / name).read_bytes()[:4] == b"\x89PNG" for name in named)


def test_what_nobody_would_read_is_refused(run):
    with pytest.raises(XkdError, match=r"^tests: found, and the scores are those of `runs`; leave it out"):
        model_card("embedded/kd", runs=[run], tests=["perturbation"])
    with pytest.raises(XkdError, match=r"^fractions: found, and no scores are computed without `data`; leave it out"):
        model_card("embedded/kd", fractions=[0.5])


def test_a_file_that_is_no_card_is_not_written_over(tmp_path):
    card = model_card("embedded/kd")
    (tmp_path / "README.md").write_text("# My project\n")
    with pytest.raises(XkdError, match=r"^output: .* is there, and no card of this package; choose another name"):
        card.write(tmp_path / "README.md")
    assert (tmp_path / "README.md").read_text() == "# My project\n"
    first = card.write(tmp_path / "card.md")
    assert card.write(tmp_path / "card.md") == first


def test_a_crossing_is_no_run_of_the_model(tmp_path):
    models = {"teacher": load_classifier("embedded/teacher"), "kd": load_classifier("embedded/kd")}
    compare(models, limit=4, fractions=[0.5], floors=False, runs=tmp_path, output=tmp_path / "report")
    scores = model_card("embedded/kd", runs=[tmp_path]).scores
    own = evaluate("embedded/kd", limit=4, fractions=[0.5]).result("kd", "perturbation")
    negative = [score.value for score in scores if score.test == "perturbation" and score.spec.name == "negative.auc"]
    assert negative == [own.summary["negative"]["auc"]["value"]]
