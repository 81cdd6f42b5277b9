"""What a study works on: labels among a model's classes, and options that are refused."""

from __future__ import annotations

import pytest

from xkd_eval import evaluate
from xkd_eval.datasets.embedded import EmbeddedDataset
from xkd_eval.errors import XkdError
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
        ({"seed": "x"}, "seed: got 'x'; expected a whole number"),
        ({"save_maps": "there"}, "save_maps: keeps one model's maps"),
        ({"masks": "nowhere"}, "masks: 'nowhere' does not exist"),
    ],
)
def test_options_that_cannot_be_are_refused(options, message):
    with pytest.raises(XkdError, match=message):
        evaluate("embedded/kd", tests="segmentation", limit=4, **options)
