"""Perturbation test: a sum classifier's curves by hand, the engine against a slow loop, the published hits."""

import numpy as np
import pytest
import torch

from tests.evaluations.conftest import batch_of
from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.errors import XkdError
from xkd_eval.evaluations.perturbation.options import PerturbationOptions
from xkd_eval.evaluations.perturbation.protocol import area_under_curve
from xkd_eval.evaluations.perturbation.test import PerturbationTest
from xkd_eval.evaluations.protocol import Rules
from xkd_eval.evaluations.removal import FILLS, fill_image

PLAIN = Preprocess(size=(10, 10), mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))


def made(**options) -> PerturbationTest:
    return PerturbationTest.create(Rules(), PerturbationOptions(**options))


def test_curves_of_a_pixel_sum_classifier_are_known_by_hand(pixel_sum):
    # One bright row in ten: the sum is 0.1, above the other class's 0.05 while half of the bright row is there.
    pixels = torch.zeros(1, 3, 10, 10, dtype=torch.uint8)
    pixels[:, :, 0] = 255
    maps = pixels[:, 0].float()
    model = lambda images: pixel_sum(images) * torch.tensor([0.2, 1.0])  # noqa: E731 - thresholds 0.05 and the sum
    test = made()
    rows = test.rows(batch_of(pixels, maps, model, [1], PLAIN))
    # Positive: the first 10 % takes the whole bright row. Negative: 90 % leaves it whole.
    assert rows["clean_hit"].tolist() == [True]
    assert rows["positive_hit"].tolist() == [[False] * 9]
    assert rows["negative_hit"].tolist() == [[True] * 9]
    summary = test.summarise(rows)
    assert summary["positive"]["auc"]["value"] == pytest.approx(0.05)  # the triangle from (0, 1) to (0.1, 0)
    assert summary["negative"]["auc"]["value"] == pytest.approx(0.9)
    assert summary["negative"]["auc_relative"]["value"] == pytest.approx(1.0)
    assert [point["value"] for point in summary["positive"]["curve"]] == [1.0] + [0.0] * 9
    assert summary["between"]["auc"]["value"] == pytest.approx(0.85)


def test_a_model_that_is_always_wrong_gains_nothing_by_its_positive_area(pixel_sum):
    pixels = torch.zeros(1, 3, 10, 10, dtype=torch.uint8)
    test = made()
    summary = test.summarise(test.rows(batch_of(pixels, torch.rand(1, 10, 10), pixel_sum, [1], PLAIN)))
    assert summary["positive"]["auc"]["value"] == summary["between"]["auc"]["value"] == 0


@pytest.mark.parametrize("direction", ["positive", "negative"])
def test_one_direction_is_a_headline_and_two_are_the_area_between(direction):
    heads = [spec.name for spec in made(direction=direction).specs() if spec.is_at_least("headline")]
    assert heads == ["clean_accuracy", f"{direction}.auc"]
    assert [spec.name for spec in made().specs() if spec.is_at_least("headline")] == ["clean_accuracy", "between.auc"]


def test_each_images_part_in_the_area_between_has_it_as_their_mean():
    generator = np.random.default_rng(0)
    rows = {f"{name}_hit": generator.random((40, 9)) > 0.4 for name in ("positive", "negative")}
    spec = made().spec("between.auc")
    means = {name: values.mean(0, keepdims=True) for name, values in rows.items()}
    assert spec.per_image(rows).mean() == pytest.approx(spec.compute(means)[0])
    areas = [
        area_under_curve(np.r_[0.0, values], tuple(np.arange(1, 10) / 10))
        for values in rows["negative_hit"].astype(float) - rows["positive_hit"]
    ]
    assert spec.per_image(rows) == pytest.approx(np.array(areas))


def test_rule_of_the_area_reproduces_the_four_readings_of_one_curve():
    # PROTOCOLS: one curve reads 55.4 by this rule and 61.6 divided by 0.9; here the same on a straight line.
    curve = np.linspace(1.0, 0.1, 10)
    fractions = tuple(np.arange(1, 10) / 10)
    assert area_under_curve(curve, fractions) == pytest.approx((1.0 + 0.1) / 2 * 0.9)


@pytest.mark.parametrize("fill", list(FILLS))
def test_engine_equals_one_image_and_one_mask_at_a_time(fill):
    generator = torch.Generator().manual_seed(1)
    preprocess = Preprocess(size=(12, 12), mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4))
    pixels = torch.randint(0, 256, (5, 3, 12, 12), generator=generator, dtype=torch.uint8)
    maps = torch.randn(5, 12, 12, generator=generator)
    weight = torch.randn(4, 3 * 144, generator=generator)
    labels = [0, 1, 2, 3, 0]

    def model(images):
        return images.flatten(1) @ weight.T

    test = made(fill=fill, fractions=(0.25, 0.5, 0.77))
    rows = test.rows(batch_of(pixels, maps, model, labels, preprocess, chunk=7))
    replacement = fill_image(pixels, preprocess, fill).expand(5, 3, 12, 12)
    for image in range(5):
        clean = preprocess.normalise(pixels[image : image + 1])[0]
        explained = int(model(clean[None]).argmax())
        for direction, sign in (("positive", 1), ("negative", -1)):
            order = (sign * maps[image]).flatten().argsort(descending=True)
            for column, fraction in enumerate((0.25, 0.5, 0.77)):
                masked = clean.clone().flatten(1)
                removed = order[: int(fraction * 144)]
                masked[:, removed] = replacement[image].flatten(1)[:, removed]
                logits = model(masked.reshape(1, 3, 12, 12))[0]
                others = torch.cat([logits[: labels[image]], logits[labels[image] + 1 :]])
                assert rows[f"{direction}_hit"][image, column] == (int(logits.argmax()) == labels[image])
                assert rows[f"{direction}_probability"][image, column] == pytest.approx(
                    float(logits.softmax(0)[explained]), rel=1e-4, abs=1e-6
                )
                assert rows[f"{direction}_log_ratio"][image, column] == pytest.approx(
                    float(logits[labels[image]] - others.max()), rel=1e-3, abs=1e-3
                )


def test_black_is_black_before_normalising():
    preprocess = Preprocess(mean=(0.5, 0.25, 0.1), std=(0.5, 0.5, 0.2))
    colour = fill_image(torch.zeros(1, 3, 2, 2, dtype=torch.uint8), preprocess, "black")
    torch.testing.assert_close(colour.flatten(), torch.tensor([-1.0, -0.5, -0.5]))
    mean = fill_image(torch.zeros(1, 3, 2, 2, dtype=torch.uint8), preprocess, "mean")
    torch.testing.assert_close(mean.flatten(), torch.zeros(3))


def test_a_constant_map_is_counted_and_scored_like_a_random_one(pixel_sum):
    pixels = torch.full((1, 3, 10, 10), 255, dtype=torch.uint8)
    test = made()
    rows = test.rows(batch_of(pixels, torch.ones(1, 7, 7), pixel_sum, [1], PLAIN))
    assert rows["degenerate"].tolist() == [True]
    assert rows["tie_share"].tolist() == [1.0]
    # The sum falls by a tenth a step whichever pixels go; class 1 wins while more than a quarter is left.
    assert rows["positive_hit"].tolist() == [[True] * 7 + [False] * 2]
    assert rows["negative_hit"].tolist() == rows["positive_hit"].tolist()


@pytest.mark.parametrize(("fractions", "none"), [((0.001, 0.5), 0.001), ((0.5, 0.501), 0.501)])
def test_a_step_that_removes_no_pixel_more_is_refused(pixel_sum, fractions, none):
    batch = batch_of(torch.zeros(1, 3, 10, 10, dtype=torch.uint8), torch.rand(1, 10, 10), pixel_sum, [1], PLAIN)
    with pytest.raises(XkdError, match=rf"^fractions: {none} of 10x10 pixels is no pixel more than the step before"):
        made(fractions=fractions).rows(batch)


def test_relative_area_is_null_where_nothing_is_classified_right(pixel_sum):
    pixels = torch.zeros(1, 3, 10, 10, dtype=torch.uint8)
    test = made(direction="positive")
    summary = test.summarise(test.rows(batch_of(pixels, torch.randn(1, 7, 7), pixel_sum, [1], PLAIN)))
    assert summary["positive"]["auc_relative"] == {"value": None, "ci95": None}
    assert "negative" not in summary
