"""ADCC: by hand, and what the authors' code printed on real photographs."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from tests.evaluations.conftest import Answers, batch_of
from xkd_eval import XkdError
from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.evaluations.adcc.options import AdccOptions
from xkd_eval.evaluations.adcc.test import AdccTest
from xkd_eval.evaluations.coherency import correlation
from xkd_eval.evaluations.forms import in_form
from xkd_eval.evaluations.protocol import Rules
from xkd_eval.testing import check_test

PLAIN = Preprocess(size=(8, 8), mean=(0.0,) * 3, std=(1.0,) * 3)
HALF = torch.cat([torch.ones(1, 4, 8), torch.zeros(1, 4, 8)], 1)


@pytest.mark.parametrize("form", ["minmax", "relu"])
def test_the_authors_numbers_on_photographs(golden, form):
    found = golden.run("adcc" if form == "minmax" else "adcc:form=relu", None)
    for name in ("adcc", "coherency", "complexity", "average_drop"):
        entry = golden.metrics[f"{name}/adcc-authors/{form}"]
        np.testing.assert_allclose(found.columns[name], entry["per_image"], atol=1e-4, err_msg=name)
        assert found.summary[name]["value"] == pytest.approx(entry["aggregate"], abs=1e-4)
    if form == "minmax":  # the harmonic mean of the means is another number
        means = [found.summary[name]["value"] for name in ("coherency", "complexity", "average_drop")]
        assert 3 / (1 / means[0] + 1 / (1 - means[1]) + 1 / (1 - means[2])) == pytest.approx(0.7126, abs=1e-4)


@dataclass(frozen=True)
class Again(Answers):
    """A network whose maps of other images are given."""

    again: torch.Tensor | None = None

    def explain(self, explainer, images, classes, ids, *_):
        return self.again.expand(len(images), -1, -1)


def constant(images):
    return torch.tensor([[0.0, 1.0]]).expand(len(images), -1)


def scored(maps, again, answer=constant):
    pixels = torch.full((len(maps), 3, 8, 8), 255, dtype=torch.uint8)
    batch = batch_of(pixels, maps, answer, [1] * len(maps), PLAIN)
    batch = replace(batch, network=Again(answer, again=again), explainer=object())
    test = AdccTest.create(Rules(), AdccOptions())
    return test, test.rows(batch)


def test_an_unchanged_second_map_of_half_the_image_without_a_drop_scores_three_quarters():
    _, rows = scored(HALF, HALF)
    assert rows["coherency"] == pytest.approx(1) and rows["complexity"] == pytest.approx(0.5)
    assert rows["average_drop"] == pytest.approx(0) and rows["adcc"] == pytest.approx(0.75)


def test_ones_but_for_one_pixel_score_next_to_nothing():
    fake = torch.ones(1, 8, 8)
    fake[0, 0, 0] = 0
    _, rows = scored(fake, fake)
    assert rows["average_drop"] == pytest.approx(0) and rows["adcc"] == pytest.approx(3 / (1 + 64 + 1))


def test_an_opposite_second_map_scores_nothing():
    _, rows = scored(HALF, -HALF)
    assert rows["coherency"] == pytest.approx(0) and rows["adcc"] == pytest.approx(0)


def test_a_constant_second_map_scores_nothing():
    _, rows = scored(HALF, torch.ones(1, 8, 8))
    assert rows["coherency"].tolist() == [0] and rows["adcc"].tolist() == [0]
    assert rows["degenerate"].tolist() == [False]


def test_a_drop_to_nothing_scores_nothing():
    _, rows = scored(HALF, HALF, lambda images: 4000 * images.mean((1, 2, 3))[:, None] * torch.tensor([[-1.0, 1.0]]))
    assert rows["average_drop"].tolist() == [0]  # half the sum is still sure
    _, rows = scored(
        HALF, HALF, lambda images: 4000 * (images.mean((1, 2, 3))[:, None] - 0.7) * torch.tensor([[-1.0, 1]])
    )
    assert rows["average_drop"].tolist() == [1] and rows["adcc"].tolist() == [0]


def test_a_class_without_probability_has_no_drop():
    pixels = torch.full((2, 3, 8, 8), 255, dtype=torch.uint8)
    answer = lambda images: torch.tensor([[0.0, 2000.0]]).expand(len(images), -1)  # noqa: E731
    batch = batch_of(pixels, HALF.expand(2, -1, -1), answer, [0, 1], PLAIN)
    batch = replace(batch, network=Again(answer, again=HALF), explainer=object(), target=torch.tensor([0, 1]))
    test = AdccTest.create(Rules(), AdccOptions())
    rows = test.rows(batch)
    assert np.isnan(rows["adcc"]).tolist() == [True, False]
    assert test.summarise(rows)["adcc"]["value"] == pytest.approx(0.75)


def test_against_the_formula_on_random_maps():
    generator = torch.Generator().manual_seed(3)
    maps, again = (torch.randn(4, 8, 8, generator=generator) for _ in range(2))
    weight = torch.randn(3, 192, generator=generator) / 10
    pixels = torch.randint(0, 256, (4, 3, 8, 8), generator=generator, dtype=torch.uint8)
    answer = lambda images: images.flatten(1) @ weight.T  # noqa: E731
    batch = batch_of(pixels, maps, answer, [0] * 4, PLAIN)
    batch = replace(batch, network=Again(answer, again=again), explainer=object())
    rows = AdccTest.create(Rules(), AdccOptions()).rows(batch)
    for image in range(4):
        low, high = maps[image].min(), maps[image].max()
        shown = (maps[image] - low) / (high - low)
        before = answer(batch.images[image][None]).softmax(1)[0]
        after = answer(batch.images[image][None] * shown).softmax(1)[0]
        drop = float(max(before.max() - after[before.argmax()], 0) / before.max())
        r = np.corrcoef(maps[image].flatten(), again[image].flatten())[0, 1]
        parts = [(1 + r) / 2, 1 - float(shown.mean()), 1 - drop]
        assert rows["adcc"][image] == pytest.approx(3 / sum(1 / part for part in parts), rel=1e-5)


def test_correlation_is_of_proportions():
    maps, _ = in_form(torch.randn(2, 8, 8), "minmax", (8, 8))
    torch.testing.assert_close(correlation(maps, 3 * maps + 1), torch.ones(2, dtype=torch.float64))


def test_bad_options_are_refused():
    with pytest.raises(XkdError, match=r"^preset: unknown value 'quantus'; expected one of paper"):
        AdccTest.create(Rules(), AdccOptions(preset="quantus"))
    with pytest.raises(XkdError, match=r"^form: unknown value 'log'; expected one of minmax, relu"):
        AdccTest.create(Rules(), AdccOptions(form="log"))


def test_the_contract():
    check_test("adcc")
