"""SIC and AIC: curves by hand, griddata a channel at a time, the authors' own figures."""

import numpy as np
import PIL
import pytest
import torch
from scipy.interpolate import griddata

from tests.evaluations.conftest import batch_of, share_of_light
from xkd_eval import XkdError, evaluate
from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.evaluations.protocol import Rules
from xkd_eval.evaluations.sic.curve import curve_area, information_curve
from xkd_eval.evaluations.sic.options import DEFAULT_SHARES, SicOptions
from xkd_eval.evaluations.sic.revealing import interpolated, revealed_pixels, starting_pixels
from xkd_eval.evaluations.sic.test import SicTest
from xkd_eval.testing import check_test

TENTHS = np.arange(0, 1001, 100)


def made(**options) -> SicTest:
    return SicTest.create(Rules(), SicOptions(**options))


def test_a_curve_by_hand():
    # Scaled from start to clean: bytes 0, .5, 1; answers 0, .75, 1. Two triangles and a rectangle: .1875 + .4375.
    curve = information_curve(np.array([0.1, 0.7, 0.9]), np.array([100, 150, 200]), 0.8, True)
    assert curve[TENTHS] == pytest.approx([0, 0.15, 0.3, 0.45, 0.6, 0.75, 0.8, 0.85, 0.9, 0.95, 1])
    assert curve_area(curve) == pytest.approx(0.625)


def test_a_curve_keeps_its_highest_value_and_is_clipped():
    answers, sizes = np.array([0.1, 1.0, 0.3, 0.9]), np.array([100, 120, 160, 200])
    curve = information_curve(answers, sizes, 0.8, True)
    assert curve[200] == curve[600] == curve[999] == 1.0
    assert curve_area(curve) == pytest.approx(0.9)
    assert information_curve(answers, sizes, 0.8, False)[600] == pytest.approx(0.25)


@pytest.mark.parametrize(("answers", "sizes"), [([0.1, 0.7], [10, 20]), ([0.9, 0.9], [10, 20]), ([0.1, 0.9], [20, 20])])
def test_where_there_is_no_curve(answers, sizes):
    assert np.isnan(information_curve(np.array(answers), np.array(sizes), 0.8, True)).all()


def test_counts_are_those_of_the_quantile():
    for n_pixels in (500, 4096, 50176):
        values = np.random.default_rng(0).permutation(n_pixels)
        expected = [int((values >= np.quantile(values, 1 - share) - 1e-6).sum()) for share in DEFAULT_SHARES]
        assert revealed_pixels(DEFAULT_SHARES, n_pixels) == expected


ROWS, COLUMNS = np.mgrid[:40, :30]


@pytest.mark.parametrize(
    "known",
    [
        pytest.param(starting_pixels("any", (40, 30), 0.05, 0), id="drawn"),
        pytest.param((ROWS % 5 == 0) & (COLUMNS % 7 == 0), id="lattice"),
        pytest.param((ROWS - 20) ** 2 + (COLUMNS - 15) ** 2 < 90, id="disc"),
        pytest.param((ROWS == 20) & (COLUMNS > 3), id="line"),
        pytest.param(np.zeros((40, 30), dtype=bool), id="corners"),
    ],
)
def test_interpolation_equals_griddata_a_channel_at_a_time(known):
    generator, known = np.random.default_rng(1), known.copy()
    image = generator.integers(0, 256, (40, 30, 3), dtype=np.uint8)
    made_image = interpolated(image, known)
    known[[0, 0, -1, -1], [0, -1, 0, -1]] = True
    for channel in range(3):
        found = griddata(np.argwhere(known), image[..., channel][known].astype(float), np.argwhere(~known))
        np.testing.assert_array_equal(made_image[..., channel][~known], np.round(found.astype(np.float32)))
        np.testing.assert_array_equal(made_image[..., channel][known], image[..., channel][known])
    assert (interpolated(image, np.ones((40, 30), dtype=bool)) == image).all()


def test_shares_that_reveal_no_pixel_more_are_refused():
    with pytest.raises(XkdError, match=r"^shares: 0\.01 of 100 pixels is no pixel more than the share before; give"):
        revealed_pixels(DEFAULT_SHARES, 100)


def test_a_ramp_is_interpolated_exactly():
    ramp = np.stack([np.add.outer(np.arange(20), 2 * np.arange(30))] * 3, -1).astype(np.uint8)
    np.testing.assert_array_equal(interpolated(ramp, np.zeros((20, 30), dtype=bool)), ramp)


def test_the_curve_equals_the_authors_from_their_answers_and_bytes(golden_metrics):
    for name in ("sic", "aic"):
        entry = golden_metrics["metrics"][f"{name}/saliency"]
        curves = [
            information_curve(np.array(step["predictions"]), np.array(step["bytes"]), 0.8, True)
            for step in entry["steps"]
        ]
        np.testing.assert_allclose(curve_area(np.stack(curves)), entry["per_image"], atol=2e-6)
        assert curve_area(np.mean(curves, axis=0)) == pytest.approx(entry["aggregate"], abs=2e-6)


@pytest.mark.long
def test_the_authors_areas(golden, monkeypatch):
    # They draw the first image's pixels from numpy's global generator, whose seed is the photograph's place.
    entries = {name: golden.metrics[f"{name}/saliency"] for name in ("sic", "aic")}
    places = entries["sic"]["arguments"]["images"]
    seeds = {golden.photographs.ids[place]: place for place in places}

    def drawn(identifier, size, share, seed):
        state = np.random.RandomState(seeds[identifier])
        known = np.zeros(size, dtype=bool)
        known.flat[state.choice(known.size, int(known.size * share), replace=False)] = True
        return known

    monkeypatch.setattr("xkd_eval.evaluations.sic.test.starting_pixels", drawn)
    result = golden.run("sic", "tie_free", places)
    # Sizes depend on the libwebp inside Pillow; a curve moves by far less than they do.
    same = all(PIL.__version__ == entry["pillow"] for entry in entries.values())
    for name, column in (("sic", "revealed_probability"), ("aic", "revealed_hit")):
        entry = entries[name]
        chosen = [places.index(place) for place in entry["arguments"]["images"]]  # AIC of photograph 15 is not there
        rows = {key: values[chosen] for key, values in result.columns.items()}
        answers, sizes = (np.array([step[key] for step in entry["steps"]]) for key in ("predictions", "bytes"))
        np.testing.assert_allclose(rows[column], answers, atol=1e-4)
        np.testing.assert_allclose(rows["revealed_bytes"], sizes, rtol=0 if same else 0.05)
        np.testing.assert_allclose(rows[name], entry["per_image"], atol=1e-4 if same else 0.02)
    tolerance = 1e-4 if same else 0.02
    assert result.summary["sic"]["value"] == pytest.approx(entries["sic"]["aggregate"], abs=tolerance)
    curves = result.test._curves("sic", result.columns)
    assert result.summary["sic_of_set"] == {
        "images": 4,
        "of": 4,
        "median_curve": pytest.approx(curve_area(np.median(curves, axis=0))),
    }


def seen(light: torch.Tensor, size: int = 16):
    pixels = (light[:, None] * torch.ones(3, 1, 1)).to(torch.uint8)
    maps = pixels[:, 0].float()
    return batch_of(pixels, maps, share_of_light, [0] * len(light), Preprocess(size=(size, size), std=(40.0,) * 3))


def test_an_image_without_a_curve_is_left_out_and_counted():
    generator = torch.Generator().manual_seed(0)
    light = torch.randint(0, 200, (2, 16, 16), generator=generator)
    test = made(least=1.0)
    rows = test.rows(seen(light))
    assert rows["revealed_bytes"].shape == rows["revealed_probability"].shape == (2, 15)
    assert np.isnan(rows["sic"]).all()
    summary = test.summarise(rows)
    assert summary["sic"] == {"value": None, "ci95": None}
    assert summary["sic_of_set"] == {"images": 0, "of": 2, "median_curve": None}
    assert "SIC: scored 0 of 2 images" in test.notes(summary)


def test_rows_of_images_without_any_curve_are_scored_as_undefined():
    result = evaluate("embedded/kd", tests="sic:least=1,shares=0.1", limit=2).results[0]
    assert result.summary["sic"]["value"] is None


def test_whose_rules_they_are():
    rows = {name: np.zeros((1, 2)) for name in ("revealed_probability", "revealed_hit", "revealed_bytes", "sic", "aic")}
    assert made().extras(rows)["preset"]["name"] == "pair"
    assert made(form="relu").extras(rows)["preset"]["name"] == "own"


def test_bad_input_is_one_line():
    with pytest.raises(XkdError, match=r"^preset: unknown value 'rise'; expected one of pair$"):
        evaluate("embedded/kd", tests="sic", preset="rise", limit=2)
    with pytest.raises(XkdError, match=r"^shares: got 0.5, 0.1; expected increasing values above 0 and up to 1"):
        made(shares=(0.5, 0.1))
    with pytest.raises(XkdError, match=r"^least: 2 found; expected a number from 0 to 1"):
        evaluate("embedded/kd", tests="sic", least=2, limit=2)
    with pytest.raises(XkdError, match=r"^size: images of 1x9 pixels found; expected two rows and columns$"):
        interpolated(np.zeros((1, 9, 3), dtype=np.uint8), np.zeros((1, 9), dtype=bool))


def test_what_every_study_relies_on():
    check_test("sic:shares=(0.1,0.5),least=0")
