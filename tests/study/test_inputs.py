"""What a study works on: labels among a model's classes, and options that are refused."""

from __future__ import annotations

import pytest

from xkd_eval import evaluate, segmentation_test
from xkd_eval.datasets.embedded import EmbeddedDataset
from xkd_eval.errors import XkdError
from xkd_eval.explainers.references import Random
from xkd_eval.study import inputs


class OtherClasses(EmbeddedDataset):
    """Photographs whose classes are none of the model's."""

    def __init__(self) -> None:
        super().__init__(size=6)
        self.label_kind, self.classes = "name", ("a", "b")
        self.labels = ["a", "b"] * 3


def test_labels_that_are_not_the_models_are_looked_up_once(monkeypatch):
    asked: list[str] = []
    original = inputs.resolve_labels

    def counted(dataset, classifier, class_map):
        asked.append(classifier.name)
        return original(dataset, classifier, class_map)

    monkeypatch.setattr(inputs, "resolve_labels", counted)
    found = evaluate("embedded/kd", OtherClasses(), tests="segmentation")
    assert found.results[0].summary["n_images"] == 6
    assert len(asked) == 1
    with pytest.raises(XkdError, match="is among the 10 classes"):
        evaluate("embedded/kd", OtherClasses())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seed": "x"}, "seed: 'x' found; expected a whole number from 0"),
        ({"save_maps": "there"}, "save_maps: keeps one model's maps"),
        ({"masks": "nowhere"}, "masks: 'nowhere' does not exist"),
        ({"tests": 3}, "tests: 3 found; expected a name, or several"),
        ({"tests": [3]}, "tests: 3 found among them"),
        ({"tests": "perturbation", "masks": "embedded"}, "masks: none of the tests needs them"),
        ({"explainers": None}, "explainers: None found; expected a name, or several"),
        ({"explainers": Random}, "explainers: .*Random.*"),
        ({"models": {"a": [], "b": "embedded/kd"}}, "models: none given for 'a'"),
        ({"fill": "blur"}, "fill: none of the tests takes it, as perturbation and .* would"),
    ],
)
def test_options_that_cannot_be_are_refused(options, message):
    with pytest.raises(XkdError, match=message):
        evaluate(**{"models": "embedded/kd", "tests": "segmentation", "limit": 4, **options})


def test_maps_are_not_read_from_the_folder_that_they_are_written_to(tmp_path):
    with pytest.raises(XkdError, match=r"save_maps: .* is the folder that `maps` are read from"):
        segmentation_test("embedded/kd", limit=4, maps=tmp_path, save_maps=str(tmp_path))


def test_a_data_set_that_names_two_images_alike_is_refused():
    images = EmbeddedDataset("test", size=4)
    images.ids = [images.ids[0], *images.ids[:3]]
    with pytest.raises(XkdError, match=rf"^data: .*the id '{images.ids[0]}' stands for two images"):
        segmentation_test("embedded/kd", images)
