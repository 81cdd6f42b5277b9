"""Whole runs: the same rows whatever the batch, the workers, a kill or the number of processes; directories; schema."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import jsonschema
import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from torch import nn

from xkd_eval import compare, evaluate, load_classifier, perturbation_test, segmentation_test
from xkd_eval.classifiers import architectures
from xkd_eval.datasets.embedded import EmbeddedDataset
from xkd_eval.errors import XkdError
from xkd_eval.evaluations.base import Evaluation
from xkd_eval.evaluations.perturbation.options import PerturbationOptions
from xkd_eval.evaluations.perturbation.test import PerturbationTest
from xkd_eval.evaluations.protocol import shared_rules
from xkd_eval.evaluations.scores import ScoreSpec
from xkd_eval.explainers.references import Random
from xkd_eval.study.evaluate import evaluate_one
from xkd_eval.study.records import SUMMARY_SCHEMA

SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "summary.schema.json").read_text())


@pytest.fixture(scope="module")
def images() -> EmbeddedDataset:
    return EmbeddedDataset("test", size=45)


@pytest.fixture(scope="module")
def reference(classifier, images):
    return perturbation_test(classifier, images)


class PerTest(Evaluation):
    """A test without rules of its own."""

    title, citation = "Mine", "for the test"

    def rows(self, batch):
        return {"value": np.full(len(batch.images), self.value)}

    def specs(self):
        return (ScoreSpec("value", "value", lambda means: means["value"]),)


def same_rows(ours, theirs) -> bool:
    return ours.rows.equals(theirs.rows)


@pytest.mark.parametrize("options", [{"batch_size": 1}, {"batch_size": 7}, {"batch_size": 64}, {"workers": 2}])
def test_rows_do_not_depend_on_how_images_are_read(classifier, images, reference, options):
    assert same_rows(perturbation_test(classifier, images, **options), reference)


@dataclass(frozen=True)
class ManyForwards(Random):
    """Counts what it is given."""

    per_image = True
    shapes: list = field(default_factory=list)

    def parameters(self):
        return {}

    def __call__(self, classifier, images, classes, context=None):
        self.shapes.append(len(images))
        return super().__call__(classifier, images, classes, context)


def test_a_method_of_many_forwards_gets_one_image_at_a_time(classifier, images):
    counted = ManyForwards()
    made = perturbation_test(classifier, images, explainer=counted, limit=5)
    assert counted.shapes == [1] * 5
    assert same_rows(made, perturbation_test(classifier, images, explainer="random", limit=5))


def test_rows_do_not_depend_on_the_other_images(classifier, images, reference):
    few = perturbation_test(classifier, images, limit=5, seed=1)
    picked = [reference.rows["id"].to_pylist().index(name) for name in few.rows["id"].to_pylist()]
    assert few.rows.drop_columns("position").equals(reference.rows.take(picked).drop_columns("position"))


class InterruptedRunError(Exception):
    pass


def test_an_interrupted_run_continues_to_the_same_summary(classifier, images, reference, tmp_path):
    def stop(what: str, done: int, total: int) -> None:
        if done >= 16:
            raise InterruptedRunError

    with pytest.raises(InterruptedRunError):
        perturbation_test(classifier, images, output=tmp_path, batch_size=8, progress=stop, figures=False)
    assert not (tmp_path / "summary.json").exists()
    (tmp_path / "rows" / ".part-000000000-torn.parquet.partial").write_bytes(b"PAR1")
    result = perturbation_test(classifier, images, output=tmp_path, figures=False)
    assert 0 < result.continued < len(images)
    assert same_rows(result, reference)
    written = json.loads((tmp_path / "summary.json").read_text())
    del written["digest"]
    whole = perturbation_test(classifier, images, output=tmp_path / "whole", figures=False).summary
    assert {**written, "images_per_second": 0} == {**whole, "images_per_second": 0}


def test_a_finished_directory_is_printed_not_computed(classifier, images, tmp_path):
    first = perturbation_test(classifier, images, output=tmp_path, limit=4)
    again = perturbation_test(classifier, images, output=tmp_path, limit=4, progress=lambda what, done, total: 1 / 0)
    assert again.summary == first.summary
    assert {path.name for path in tmp_path.iterdir()} >= {"perturbation_curves.pdf", "extremes.png", "protocol.json"}


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"fill": "mean"}, "protocol.fill"),
        ({"explainer": "random"}, "explainer.name"),
        ({"limit": 3}, "data.n_images"),
        ({"direction": "positive"}, "settings.directions"),
        ({"precision": "bf16"}, "precision"),
    ],
)
def test_a_directory_of_another_run_is_refused_with_the_field(classifier, images, tmp_path, options, field):
    base = {"limit": 4, "output": tmp_path}
    perturbation_test(classifier, images, **base)
    with pytest.raises(XkdError, match=rf"holds another run; these differ: .*{field}"):
        perturbation_test(classifier, images, **{**base, **options})
    fresh = perturbation_test(classifier, images, **{**base, **options}, overwrite=True)
    assert fresh.continued == 0


@pytest.mark.parametrize("file", ["protocol.json", "summary.json"])
def test_a_directory_of_another_release_is_refused(classifier, images, tmp_path, file):
    run = {"limit": 3, "figures": False}
    perturbation_test(classifier, images, output=tmp_path / "former", **run)
    perturbation_test(classifier, images, output=tmp_path / "now", **run)
    written = tmp_path / "former" / file
    former = json.loads(written.read_text())
    former["schema"] = former["schema"][:-1] + "1"
    written.write_text(json.dumps(former))
    with pytest.raises(XkdError, match=r"is of another release"):
        compare([tmp_path / "former", tmp_path / "now"])
    if file == "protocol.json":
        with pytest.raises(XkdError, match=r"^output: .* is of another release .*or `overwrite`"):
            perturbation_test(classifier, images, output=tmp_path / "former", **run)
    else:  # of the same rows
        assert (
            perturbation_test(classifier, images, output=tmp_path / "former", **run).summary["schema"] == SUMMARY_SCHEMA
        )


def test_a_kill_before_the_first_file_is_whole_costs_nothing(classifier, images, tmp_path):
    (tmp_path / ".protocol.json.0a1b2c3d").write_text("{")
    assert segmentation_test(classifier, images, output=tmp_path, limit=3, figures=False).summary["n_images"] == 3


def test_a_directory_of_another_test_is_refused(classifier, images, tmp_path):
    mine, yours = (
        type("Mine", (PerTest,), {"name": name, "value": value}) for name, value in (("mine", 1.0), ("yours", 2.0))
    )
    evaluate_one(mine, classifier, images, output=tmp_path, limit=3, figures=False)
    with pytest.raises(XkdError, match=r"these differ: test"):
        evaluate_one(yours, classifier, images, output=tmp_path, limit=3, figures=False)


def test_an_empty_selection_has_no_scores_and_no_areas(reference):
    nothing = reference.restricted([])
    assert nothing.test.spec("positive.auc").per_image(nothing.columns).shape == (0,)
    assert nothing.test.summarise(nothing.columns)["positive"]["auc"] == {"value": None, "ci95": None}


def test_one_image_has_a_score_and_no_interval(classifier, images):
    found = perturbation_test(classifier, images, limit=1).summary
    assert found["clean_accuracy"]["value"] in (0.0, 1.0) and found["clean_accuracy"]["ci95"] is None
    assert {point["ci95"] for point in found["negative"]["curve"]} == {None}


def test_another_model_is_refused(classifier, images, tmp_path):
    perturbation_test(classifier, images, limit=3, output=tmp_path, figures=False)
    torch.manual_seed(1)
    other = load_classifier(architectures.build("resnet8", num_classes=10), size=(64, 64))
    with pytest.raises(XkdError, match=r"model\.digest"):
        perturbation_test(other, images, limit=3, output=tmp_path)


@pytest.mark.parametrize("test", [perturbation_test, segmentation_test])
def test_summaries_validate_against_the_published_schema(classifier, images, tmp_path, test):
    result = test(classifier, images, limit=6, output=tmp_path)
    jsonschema.validate(result.summary, SCHEMA)
    jsonschema.validate(json.loads((tmp_path / "summary.json").read_text()), SCHEMA)
    if test is perturbation_test:
        assert len(result.summary["positive"]["curve"]) == 10


def test_oracle_wins_the_segmentation_test_and_random_does_not(classifier, images):
    oracle = segmentation_test(classifier, images, explainer="oracle").summary
    random = segmentation_test(classifier, images, explainer="random").summary
    assert oracle["foreground_ap"]["value"] > 0.9 > 0.3 > random["foreground_ap"]["value"]
    assert oracle["pointing_game"]["value"] > 0.9


def test_stored_maps_score_as_the_maps_they_were(classifier, images, reference, tmp_path):
    perturbation_test(classifier, images, save_maps=tmp_path)
    stored = perturbation_test(classifier, images, maps=tmp_path)
    assert stored.rows.equals(reference.rows)


def test_other_maps_in_the_same_folder_are_another_run(classifier, images, tmp_path):
    here = {"limit": 3, "figures": False, "maps": tmp_path / "maps", "output": tmp_path / "run"}
    segmentation_test(classifier, images, save_maps=tmp_path / "maps", limit=3)
    first = segmentation_test(classifier, images, **here)
    assert segmentation_test(classifier, images, **here).continued == 3
    segmentation_test(classifier, images, explainer="random", save_maps=tmp_path / "maps", limit=3)
    with pytest.raises(XkdError, match=r"these differ: explainer\.digest"):
        segmentation_test(classifier, images, **here)
    assert not segmentation_test(classifier, images, **here, overwrite=True).rows.equals(first.rows)


def test_two_processes_write_the_same_rows(classifier, images, reference, tmp_path):
    script = tmp_path / "two.py"
    script.write_text(
        "import torch\n"
        "from xkd_eval import load_classifier, perturbation_test\n"
        "from xkd_eval.classifiers import architectures\n"
        "from xkd_eval.datasets.embedded import EmbeddedDataset\n"
        "torch.manual_seed(0)\n"
        "model = load_classifier(architectures.build('resnet8', num_classes=10), size=(64, 64))\n"
        f"perturbation_test(model, EmbeddedDataset('test', size=45), output={str(tmp_path / 'run')!r}, device='cpu')\n"
    )
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone", str(script)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
    assert ended.returncode == 0, ended.stderr
    shares = [pq.read_table(part)["position"].to_pylist() for part in (tmp_path / "run" / "rows").glob("*.parquet")]
    assert sorted(shares) == [list(range(0, len(images), 2)), list(range(1, len(images), 2))]
    both = perturbation_test(classifier, images, output=tmp_path / "run")
    assert both.continued == len(images)  # finished by the two
    columns = [name for name in reference.rows.column_names if reference.rows[name].type != "string"]
    for name in columns:
        ours, theirs = (np.stack(rows[name].to_numpy()) for rows in (both.rows, reference.rows))
        np.testing.assert_array_equal(ours, theirs, err_msg=name)


def test_explainers_see_images_by_the_protocols_convention(images):
    """What is black, or what a photograph was, is not a matter of the model's own mean and deviation there."""
    torch.manual_seed(0)
    coarse = nn.Conv2d(3, 8, 16, stride=16)  # at the 224 px of the protocol gradients would take a gigabyte otherwise
    module = nn.Sequential(coarse, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10))
    own, light = (
        load_classifier(module, size=(64, 64), mean=mean, std=std)
        for mean, std in ((0.5, 0.5), ((0.9, 0.1, 0.5), (0.1, 0.9, 2.0)))
    )
    for explainer in ("edges", "integrated_gradients:steps=4"):
        ours, theirs = (
            segmentation_test(model, images, protocol="chefer", explainer=explainer, limit=3) for model in (own, light)
        )
        assert ours.rows.equals(theirs.rows)
        # Black is not what it is under the model's own convention.
        apart = [segmentation_test(model, images, explainer=explainer, limit=3).rows for model in (own, light)]
        assert explainer == "edges" or not apart[0].equals(apart[1])


def test_bf16_moves_the_areas_little(classifier, images, reference):
    bf16 = perturbation_test(classifier, images, precision="bf16").summary
    assert bf16["precision"] == "bf16"
    # Maps and clean images are forwarded exactly: only what is masked moves.
    for score in ("clean_accuracy", "tie_share"):
        assert bf16[score] == reference.summary[score]
    for direction in ("positive", "negative"):
        assert abs(bf16[direction]["auc"]["value"] - reference.summary[direction]["auc"]["value"]) <= 0.05
    assert bf16["positive"]["probability_auc"] != reference.summary["positive"]["probability_auc"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size: 0 found; expected a whole number from 1 to 2,147,483,647"),
        ({"precision": "fp8"}, "precision: unknown value 'fp8'"),
        ({"direction": "up"}, "direction: unknown value 'up'"),
        ({"device": "cuda:99"}, "device: 'cuda:99' is not available"),
        ({"explainer": "gradcamm"}, "explainer: unknown 'gradcamm'; nearest: gradcam"),
        ({"maps": "maps", "explainer": "gradcam"}, "maps: .* cannot be combined"),
    ],
)
def test_options_that_cannot_be_are_named(classifier, images, options, message):
    with pytest.raises(XkdError, match=message):
        perturbation_test(classifier, images, **options)


def test_a_test_made_under_other_rules_is_refused(classifier, images):
    made = PerturbationTest.create(shared_rules(overrides={"resize": "crop"}), PerturbationOptions())
    with pytest.raises(XkdError, match=r"perturbation was made for preprocess .*crop"):
        evaluate(classifier, images, tests=[made])
    assert evaluate(classifier, images, tests=[made], resize="crop", limit=2).results[0].test is made
