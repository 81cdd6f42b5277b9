"""Average drop, increase, average gain: answers by hand, a slow loop, and what five tools printed."""

import numpy as np
import pytest
import torch

from tests.evaluations.conftest import batch_of
from xkd_eval import XkdError, evaluate
from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.evaluations.confidence.options import ConfidenceOptions
from xkd_eval.evaluations.confidence.protocol import ConfidenceProtocol, confidence_columns
from xkd_eval.evaluations.confidence.test import ConfidenceTest
from xkd_eval.evaluations.protocol import Rules
from xkd_eval.testing import check_test

# A pixel of 5 + 10 v is v as the network sees it.
TENTHS = Preprocess(size=(2, 2), mean=(5 / 255,) * 3, std=(10 / 255,) * 3)


def made(**options) -> ConfidenceTest:
    return ConfidenceTest.create(Rules(), ConfidenceOptions(**options))


def pixels_of(*values: float) -> torch.Tensor:
    return (torch.tensor(values) * 10 + 5).round().to(torch.uint8).reshape(1, 1, 2, 2).expand(1, 3, 2, 2)


def sum_of_pixels(images: torch.Tensor) -> torch.Tensor:
    """The probability of class 0 is the sum of the pixels of a channel; what is left is divided among five others."""
    total = images[:, :1].double().sum((2, 3)).clamp(0, 1)
    return torch.cat([total, ((1 - total) / 5).expand(-1, 5)], 1).log().float()


def rows_of(values, relevance, **options):
    maps = torch.tensor(relevance, dtype=torch.float32).reshape(1, 2, 2)
    return made(**options).rows(batch_of(pixels_of(*values), maps, sum_of_pixels, [0], TENTHS))


def test_a_map_of_one_pixel_drops_to_that_pixel():
    rows = rows_of((0.4, 0.3, 0.2, 0.1), (1, 0, 0, 0))
    assert rows["average_drop"] == pytest.approx(0.6, abs=1e-6)
    assert rows["increase"].tolist() == [False]
    assert rows["average_gain"].tolist() == [0]  # where the clean image's probability is 1 there is nothing to gain


def test_hiding_what_speaks_against_the_class_is_a_gain():
    rows = rows_of((0.6, -0.1, 0, 0), (1, 0, 1, 1))
    assert rows["clean"] == pytest.approx(0.5, abs=1e-6)
    assert rows["masked"] == pytest.approx(0.6, abs=1e-6)
    assert rows["average_drop"].tolist() == [0]
    assert rows["increase"].tolist() == [True]
    assert rows["average_gain"] == pytest.approx(0.2, abs=1e-6)


def test_grad_cams_drop_is_not_divided():
    pixels, maps = pixels_of(0.4, 0.1, 0, 0), torch.tensor([[[0.0, 1], [0, 0]]])
    batch = batch_of(pixels, maps, sum_of_pixels, [0], TENTHS)
    assert batch.target.tolist() == [0]
    relative, absolute = made().rows(batch), made(preset="grad-cam").rows(batch)
    assert relative["average_drop"] == pytest.approx(0.8, abs=1e-6)
    assert absolute["confidence_drop"] == pytest.approx(0.4, abs=1e-6)
    assert absolute["confidence_change"] == pytest.approx(-0.4, abs=1e-6)
    assert "average_drop" not in absolute


@pytest.mark.parametrize("drop", ["relative", "absolute"])
def test_an_answer_that_stays_changes_nothing(drop):
    answers = np.array([0.2, 1.0, 0.999])
    columns = confidence_columns(answers, answers.copy(), ConfidenceProtocol(drop=drop))
    assert all(not values.any() for values in columns.values())


def test_fake_cam_wins_the_average_drop(golden):
    result = evaluate({"lite0": golden.classifier}, golden.photographs, tests=["confidence"], explainers=["fake_cam"])
    scores = result.results[0].summary
    assert scores["average_drop"]["value"] == pytest.approx(0.0003, abs=5e-5)
    assert scores["increase"]["value"] == pytest.approx(7 / 16)
    assert scores["average_gain"]["value"] == pytest.approx(0.0002, abs=5e-5)


@pytest.mark.parametrize(
    ("preset", "form", "epsilon"),
    [("paper", "minmax", 0), ("torch-cam", "lowres", 1e-7), ("xplique", "magnitude", 1e-8), ("grad-cam", "relu", 0)],
)
def test_rows_equal_one_image_at_a_time(preset, form, epsilon):
    generator = torch.Generator().manual_seed(1)
    preprocess = Preprocess(size=(6, 8), mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4))
    pixels = torch.randint(0, 256, (5, 3, 6, 8), generator=generator, dtype=torch.uint8)
    maps = torch.randn(5, 3, 4, generator=generator)
    weight = torch.randn(4, 3 * 48, generator=generator) / 10
    rows = made(preset=preset).rows(
        batch_of(pixels, maps, lambda images: images.flatten(1) @ weight.T, [0] * 5, preprocess)
    )
    for place in range(5):
        image = preprocess.normalise(pixels[place : place + 1])[0]
        raw = maps[place].clamp(min=0) if form == "relu" else maps[place]
        if form == "lowres":
            raw = (raw - raw.min()) / (raw.max() - raw.min())
        full = torch.nn.functional.interpolate(raw[None, None], (6, 8), mode="bilinear")[0, 0]
        full = full.abs() if form == "magnitude" else full
        if form != "lowres":
            full = (full - full.min()) / (full.max() - full.min())
        clean, kept = ((weight @ seen.flatten()).softmax(0) for seen in (image, image * full))
        explained = int(clean.argmax())
        p, o = float(clean[explained]), float(kept[explained])
        if preset == "grad-cam":
            assert rows["confidence_drop"][place] == pytest.approx(max(0, p - o), abs=1e-6)
            assert rows["confidence_change"][place] == pytest.approx(o - p, abs=1e-6)
        else:
            assert rows["average_drop"][place] == pytest.approx(max(0, p - o) / (p + epsilon), abs=1e-5)
            assert rows["average_gain"][place] == pytest.approx(max(0, o - p) / (1 - p + epsilon), abs=1e-5)
        assert rows["increase"][place] == (o > p)


# Each entry with the preset that stands for it, the form of the map that the tool was given, and our score.
GOLDEN = {
    "average_drop/adcc-authors/minmax": ("paper", "minmax", "probability", "average_drop"),
    "average_drop/adcc-authors/relu": ("paper", "relu", "probability", "average_drop"),
    "average_drop/torch-cam/lowres": ("torch-cam", "lowres", "probability", "average_drop"),
    "average_drop/torch-cam/lowres/logit": ("torch-cam", "lowres", "logit", "average_drop"),
    "average_drop/torch-cam/minmax": ("torch-cam", "minmax", "probability", "average_drop"),
    "average_drop/torch-cam/native": ("torch-cam", "lowres", "probability", "average_drop"),
    "average_drop/torch-cam/relu": ("torch-cam", "relu", "probability", "average_drop"),
    "average_drop/xplique/minmax": ("xplique", "minmax", "probability", "average_drop"),
    "average_gain/xplique/minmax": ("xplique", "minmax", "probability", "average_gain"),
    "confidence_change/grad-cam/minmax": ("grad-cam", "minmax", "probability", "confidence_change"),
    "confidence_change/grad-cam/minmax/logit": ("grad-cam", "minmax", "logit", "confidence_change"),
    "confidence_change/grad-cam/relu": ("grad-cam", "relu", "probability", "confidence_change"),
    "drop_in_confidence/grad-cam/minmax": ("grad-cam", "minmax", "probability", "confidence_drop"),
    "drop_in_confidence/grad-cam/minmax/logit": ("grad-cam", "minmax", "logit", "confidence_drop"),
    "drop_in_confidence/grad-cam/relu": ("grad-cam", "relu", "probability", "confidence_drop"),
    "increase/torch-cam/lowres": ("torch-cam", "lowres", "probability", "increase"),
    "increase/torch-cam/minmax": ("torch-cam", "minmax", "probability", "increase"),
    "increase/torch-cam/relu": ("torch-cam", "relu", "probability", "increase"),
    "increase/xplique/minmax": ("xplique", "minmax", "probability", "increase"),
    "increase_in_confidence/grad-cam/minmax": ("grad-cam", "minmax", "probability", "increase"),
    "increase_in_confidence/grad-cam/minmax/logit": ("grad-cam", "minmax", "logit", "increase"),
    "increase_in_confidence/grad-cam/relu": ("grad-cam", "relu", "probability", "increase"),
}
FAMILIES = {name.split("/")[0] for name in GOLDEN}


@pytest.fixture(scope="module")
def printed(golden):
    """All presets in one study, in which no masked image is forwarded twice.

    Of the classifier's own CAM: stored maps are up-sampled as they are read, which comes before any form.
    """
    wanted = sorted({rules[:3] for rules in GOLDEN.values()})
    spelt = {rules: "confidence:preset={},form={},answer={}".format(*rules) for rules in wanted}
    study = evaluate({"lite0": golden.classifier}, golden.photographs, tests=list(spelt.values()))
    return dict(zip(wanted, study.results, strict=True))


@pytest.mark.parametrize("entry", GOLDEN)
def test_what_the_tools_printed(entry, golden, printed):
    *rules, column = GOLDEN[entry]
    expected, result = golden.metrics[entry], printed[tuple(rules)]
    np.testing.assert_allclose(result.columns[column], expected["per_image"], atol=1e-4)
    assert result.summary[column]["value"] == pytest.approx(expected["aggregate"], abs=1e-4)


def test_every_golden_entry_of_the_family_is_held(golden):
    assert {name for name in golden.metrics if name.split("/")[0] in FAMILIES} == set(GOLDEN)


def test_the_summary_says_whose_rules_and_which_answer():
    summaries = {}
    for test in ("confidence", "confidence:preset=torch-cam", "confidence:preset=torch-cam,answer=logit"):
        result = evaluate("embedded/kd", tests=[test], limit=4).results[0]
        summaries[test] = result.summary["preset"]["name"], result.summary["answer"], result.test.notes(result.summary)
    assert summaries["confidence"] == ("paper", "probability", [])
    assert summaries["confidence:preset=torch-cam"][:2] == ("torch-cam", "probability")
    assert "min-maxed before" in summaries["confidence:preset=torch-cam"][2][0]
    assert "logits are scored, and not probabilities" in summaries["confidence:preset=torch-cam,answer=logit"][2]


def test_a_constant_map_is_counted_and_scored_as_a_random_one():
    rows = rows_of((0.4, 0.3, 0.2, 0.1), (1, 1, 1, 1))
    assert rows["degenerate"].tolist() == [True]
    assert rows["average_drop"][0] > 0.1


def test_a_probability_of_zero_has_no_drop_and_is_left_out():
    columns = confidence_columns(np.array([0.0, 0.5]), np.array([0.1, 0.25]), ConfidenceProtocol())
    assert np.isnan(columns["average_drop"][0])
    assert columns["average_gain"].tolist() == [0.1, 0]
    rows = {**columns, "degenerate": np.zeros(2, bool)}
    summary = made().summarise(rows)
    assert summary["average_drop"]["value"] == pytest.approx(0.5)
    assert made().notes(summary) == ["average drop is undefined for 1 image, whose probability is 0"]


def test_bad_input_is_refused_in_one_line():
    with pytest.raises(XkdError, match=r"^answer: logit with preset paper, whose drop is of probabilities; .* xplique"):
        made(answer="logit")
    with pytest.raises(XkdError, match=r"^preset: unknown value 'rise'; expected one of paper, torch-cam"):
        made(preset="rise")
    with pytest.raises(XkdError, match=r"^form: unknown value 'softmax'"):
        made(form="softmax")
    with pytest.raises(XkdError, match=r"preset.*'rise'"):
        evaluate("embedded/kd", tests=["confidence:preset=rise"], limit=2)
    negative = batch_of(pixels_of(1, 0, 0, 0), torch.eye(2)[None], lambda x: -x[:, :, 0, 0], [0], TENTHS)
    with pytest.raises(
        XkdError, match=r"^answer: logit, and that of the explained class of image '0' is -1; a drop is"
    ):
        made(preset="torch-cam", answer="logit").rows(negative)
    made(preset="grad-cam", answer="logit").rows(negative)  # nothing is divided
    alone = batch_of(pixels_of(1, 0, 0, 0), torch.eye(2)[None], lambda x: x[:, :1, 0, 0], [0], TENTHS)
    with pytest.raises(XkdError, match=r"^model: it has a single class, whose probability is 1"):
        made().rows(alone)


@pytest.mark.parametrize("test", ["confidence", "confidence:preset=grad-cam", "confidence:preset=xplique,answer=logit"])
def test_contract(test):
    check_test(test)
