"""The perturbation test on photographs of several classes: a classifier that reads off its photograph what it holds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.evaluations.conftest import batch_of
from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.errors import XkdError
from xkd_eval.evaluations.perturbation.options import PerturbationOptions
from xkd_eval.evaluations.perturbation.protocol import PerturbationProtocol
from xkd_eval.evaluations.perturbation.test import PerturbationTest
from xkd_eval.evaluations.protocol import Rules, of_label_sets
from xkd_eval.evaluations.removal import own_probability

PLAIN = Preprocess(size=(10, 10), mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
RULES = of_label_sets(Rules())


def made(**options) -> PerturbationTest:
    return PerturbationTest.create(RULES, PerturbationOptions(**options))


def sums(images: torch.Tensor) -> torch.Tensor:
    """The classes "red" and "green": the share of the row that is of the colour, less a half."""
    return images[:, :2].sum((2, 3)) / 10 - 0.5


@pytest.fixture
def batch():
    """Photograph 0 has a red row and a green one, 1 a red and 2 a green one; of each label the map shows its row."""
    pixels, maps = torch.zeros(4, 3, 10, 10, dtype=torch.uint8), torch.zeros(4, 10, 10)
    for image, (rows, explained) in enumerate([({0: 0, 1: 1}, 0), ({0: 0, 1: 1}, 1), ({0: 0}, 0), ({1: 1}, 1)]):
        for channel, row in rows.items():
            pixels[image, channel, row] = 255
        maps[image, rows[explained]] = 1
    held = torch.tensor([[True, True], [True, True], [True, False], [False, True]])
    target = torch.tensor([0, 1, 0, 1])
    made = batch_of(pixels, maps, sums, target.tolist(), PLAIN)
    return replace(made, target=target, held=held)


def scored(test, batch):
    rows = {**test.rows(batch), "target": batch.target.numpy(), "photograph": np.array([0, 0, 1, 2])}
    return rows, test.summarise(rows)


def test_scores_are_known_by_hand(batch):
    rows, summary = scored(made(), batch)
    present, gone = torch.tensor([0.5, -0.5]).sigmoid().tolist()
    assert rows["clean_probability"].tolist() == pytest.approx([present] * 4)
    # The first tenth that goes is the explained row; of the least relevant nine tenths none is of it.
    assert rows["positive_probability"].flatten().tolist() == pytest.approx([gone] * 36)
    assert rows["negative_probability"].flatten().tolist() == pytest.approx([present] * 36)
    assert summary["clean_map"]["value"] == 1
    # All positives are as low as the photographs without the class, one of three in each ranking: 2 of 3.
    assert [point["value"] for point in summary["positive"]["map_curve"]] == pytest.approx([1] + [2 / 3] * 9)
    assert [point["value"] for point in summary["negative"]["map_curve"]] == pytest.approx([1] * 10)
    area = (1 + 2 / 3) / 2 * 0.1 + 2 / 3 * 0.8
    assert summary["positive"]["map_auc"]["value"] == pytest.approx(area)
    assert summary["positive"]["map_auc_relative"]["value"] == pytest.approx(area / 0.9)
    assert summary["negative"]["map_auc"]["value"] == pytest.approx(0.9)
    assert summary["positive"]["probability_auc"]["value"] == pytest.approx((present + gone) / 2 * 0.1 + gone * 0.8)
    assert summary["between"]["probability_auc"]["value"] == pytest.approx((present - gone) * 0.85)
    assert summary["between"]["map_auc_relative"]["value"] == pytest.approx((0.9 - area) / 0.9)
    assert "clean_accuracy" not in summary and "auc" not in summary["positive"]


def test_the_answers_are_stored_class_by_class(batch):
    rows, _ = scored(made(direction="positive", fractions=(0.1, 0.5)), batch)
    assert rows["clean_logits"].dtype == np.float32
    assert rows["clean_logits"].tolist() == [[0.5, 0.5], [0.5, 0.5], [0.5, -0.5], [-0.5, 0.5]]
    # Of the first image: red gone, green there; and at a half whatever the order of ties says of green.
    assert rows["positive_logits"].shape == (4, 4)
    assert rows["positive_logits"][:, :2].tolist() == [[-0.5, 0.5], [0.5, -0.5], [-0.5, -0.5], [-0.5, -0.5]]
    assert rows["held"].tolist() == batch.held.tolist()


def test_one_direction(batch):
    test = made(direction="negative")
    rows, summary = scored(test, batch)
    assert "positive" not in summary and not any(name.startswith("positive") for name in rows)
    assert test.quality(rows) == pytest.approx(rows["negative_probability"].mean(1))
    read = PerturbationTest.from_description(test.protocol.to_dict(), test.settings())
    assert [spec.name for spec in read.specs()] == [spec.name for spec in test.specs()]


def test_images_of_one_photograph_are_drawn_together(batch):
    test = made(direction="positive")
    rows, summary = scored(test, batch)
    apart = test.summarise({**rows, "photograph": np.arange(4)})
    assert apart["clean_map"]["value"] == summary["clean_map"]["value"]
    one = {name: values[:2] for name, values in rows.items()}
    assert test.summarise(one)["positive"]["probability_auc"]["ci95"] is None  # a single photograph


def test_the_figure_is_of_map(batch):
    test = made()
    rows, summary = scored(test, batch)
    figure = test.figures("cam", {**summary, "model": {"num_classes": 2}}, rows)["perturbation_curves"]
    assert {axes.get_ylabel() for axes in figure.axes if axes.get_ylabel()} == {"mAP (%)"}
    assert "mAP" in test.about and "precision" in test.curve_caption


def test_hashes_of_one_class_a_photograph_stay():
    assert PerturbationProtocol().hash == replace(PerturbationProtocol(), probability="softmax").hash
    assert "probability" not in PerturbationProtocol().to_dict()
    several = made().protocol
    assert several.hash != replace(PerturbationProtocol(), target="true").hash
    assert PerturbationProtocol.from_dict(several.to_dict()) == several
    assert Rules().hash == "9f140dbd8626"


def test_a_protocol_that_explains_the_prediction_is_refused():
    with pytest.raises(
        XkdError, match=r"^protocol exp-kd: it explains the predicted class, and .*; use chefer or model$"
    ):
        of_label_sets(Rules(name="exp-kd+mean"))


def test_a_probability_does_not_depend_on_the_images_beside_it():
    logits = 3 * torch.randn(301, 7, generator=torch.Generator().manual_seed(0))
    whole = own_probability(logits)
    assert torch.equal(whole, torch.cat([own_probability(part) for part in logits.split(3)]))
    torch.testing.assert_close(whole, logits.sigmoid())
    assert own_probability(torch.tensor([-1e4, 1e4])).tolist() == [0, 1]
