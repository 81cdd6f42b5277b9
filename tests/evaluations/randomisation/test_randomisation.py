"""Parameter randomisation: answers by hand, a slow derivation by torch's own generator, and the golden file."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from tests.evaluations.randomisation.networks import attending
from xkd_eval import Explainer, evaluate, load_classifier
from xkd_eval.classifiers.classifier import CamHead, Classifier
from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.datasets.embedded import EmbeddedDataset
from xkd_eval.errors import XkdError
from xkd_eval.evaluations.randomisation.layers import layers_of
from xkd_eval.evaluations.randomisation.maps import depths_of, places_on_curve
from xkd_eval.evaluations.randomisation.protocol import RandomisationProtocol
from xkd_eval.evaluations.randomisation.similarity import random_logit
from xkd_eval.resizing import resized
from xkd_eval.testing import check_test
from xkd_eval.testing.networks import small_classifier

MEASURES = ("spearman", "absolute", "ssim", "hog")


@dataclass(frozen=True)
class OwnForward(Explainer):
    """The CAM by a forward of its own, as an explainer does that makes nothing of known features."""

    name = "own_forward"
    citation = "for the test"
    cost = "1 F"

    def __call__(self, classifier, images, classes, context=None):
        return classifier.cams(classifier.forward_with_features(images).features, classes[:, None])[:, 0]


@pytest.fixture(scope="module")
def images():
    return EmbeddedDataset("test", size=10)


@pytest.fixture(scope="module")
def classifier():
    return load_classifier("embedded/kd")


def run(classifier, images, test="randomisation", **options):
    return evaluate(classifier, images, tests=[test], **options).results[0]


def test_a_map_that_ignores_the_network_stays_as_it_is(classifier, images):
    columns = run(classifier, images, explainers=["centre"]).columns
    for name in MEASURES:
        np.testing.assert_allclose(columns[f"mprt_{name}_by_depth"], 1, atol=1e-12)
        np.testing.assert_allclose(columns[f"mprt_{name}"], 1, atol=1e-12)
    np.testing.assert_allclose(columns["efficient_mprt"], 0)


def test_classes_of_one_weight_have_one_map(images):
    alike = small_classifier()
    with torch.no_grad():
        alike.model.head.weight.copy_(alike.model.head.weight[:1].expand(5, -1))
    for rule in ("ssim", "flattened"):
        columns = run(alike, images, f"randomisation:random_logit={rule}").columns
        np.testing.assert_allclose(columns["random_logit"], 1, atol=1e-6)
        assert (columns["other_class"] != columns["target"]).all()


def derived(classifier, images, mode, order):
    """Spearman of magnitudes, depth after depth, with torch's own generator and a copy a depth."""
    model = classifier.model
    paths = layers_of(model)[:: -1 if order == "top_down" else 1]
    pixels = torch.stack([classifier.preprocess.pixels(images.load(place).image) for place in range(len(images))])
    inputs = classifier.preprocess.normalise(pixels)
    with torch.no_grad():
        logits, features = classifier.forward_with_features(inputs)
        target = logits.argmax(1)[:, None]
        clean = resized(classifier.cams(features, target)[:, 0], classifier.preprocess.size)
        found = []
        changed = copy.deepcopy(classifier)
        for path in paths:
            if mode == "independent":
                changed = copy.deepcopy(classifier)
            torch.manual_seed(43)
            changed.model.get_submodule(path).reset_parameters()
            maps = resized(changed.cams(changed.forward_with_features(inputs).features, target)[:, 0], clean.shape[1:])
            pairs = zip(clean.abs().flatten(1), maps.abs().flatten(1), strict=True)
            found.append([stats.spearmanr(a, b)[0] for a, b in pairs])
    return np.array(found).T


@pytest.mark.parametrize("mode", ["cascading", "independent"])
@pytest.mark.parametrize("order", ["top_down", "bottom_up"])
def test_the_quantus_preset_is_what_torchs_own_generator_draws(classifier, images, mode, order):
    few = EmbeddedDataset("test", size=3)
    columns = run(classifier, few, f"randomisation:preset=quantus,mode={mode},order={order}").columns
    expected = derived(classifier, few, mode, order)
    np.testing.assert_allclose(columns["mprt_absolute_by_depth"], expected, atol=2e-4)
    np.testing.assert_allclose(columns["mprt_absolute"], expected.mean(1), atol=2e-4)
    assert ("mprt_absolute_last" in columns) == (mode == "cascading")


@pytest.mark.parametrize("mode", ["cascading", "independent"])
def test_known_features_give_what_a_forward_of_the_explainers_own_gives(classifier, images, mode):
    ours, theirs = (
        run(classifier, images, f"randomisation:mode={mode}", explainers=[method]).columns
        for method in ("cam", OwnForward())
    )
    for name in MEASURES:
        np.testing.assert_allclose(ours[f"mprt_{name}_by_depth"], theirs[f"mprt_{name}_by_depth"], atol=1e-3)


@pytest.mark.parametrize("mode", ["cascading", "independent"])
def test_every_layer_of_torchs_attention_changes_the_map(images, mode):
    model = attending()
    assert layers_of(model.model)[:3] == ["stem", "block.self_attn", "block.self_attn.out_proj"]
    ours, theirs = (
        run(model, images, f"randomisation:depths=0,mode={mode}", explainers=[method]).columns["mprt_spearman_by_depth"]
        for method in ("cam", OwnForward())
    )
    np.testing.assert_allclose(ours, theirs, atol=1e-3)
    if mode == "independent":  # the last layer first, and the head alone changes no feature
        assert np.abs(ours).max(0)[1:].max() < 0.9999


def test_quantus_counts_no_layer_of_torchs_attention_but_its_last(images):
    model = attending()
    counts = {
        preset: run(model, images, f"randomisation:preset={preset},depths=0").columns["mprt_absolute_by_depth"].shape[1]
        for preset in ("paper", "quantus")
    }
    assert counts == {"paper": 9, "quantus": 8}
    assert layers_of(model.model, "public") == [path for path in layers_of(model.model) if path != "block.self_attn"]


def test_the_classifier_and_torchs_generator_stay_as_they_were(classifier, images):
    before, state = classifier.digest(), torch.get_rng_state()
    run(classifier, images)
    assert classifier.digest() == before
    assert torch.equal(state, torch.get_rng_state())


class Silenced(nn.Conv2d):
    """A layer that is drawn as zeros: nothing is left of what comes before it."""

    def reset_parameters(self):
        nn.init.zeros_(self.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)


def test_a_redrawn_map_that_is_constant_is_like_none_and_is_counted(images):
    torch.manual_seed(0)
    silenced = Silenced(4, 4, 3, padding=1)
    nn.init.normal_(silenced.weight)
    layers = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), silenced, nn.ReLU(), nn.AdaptiveAvgPool2d(1))
    model = nn.Sequential(layers, nn.Flatten(), nn.Linear(4, 3)).eval()
    result = run(load_classifier(model, size=(20, 20)), images, depths=(0,))
    by_depth = result.columns["mprt_spearman_by_depth"]  # the head, the silenced layer, the first
    np.testing.assert_array_equal(np.isnan(by_depth), np.tile([False, True, True], (len(images), 1)))
    np.testing.assert_allclose(result.columns["mprt_spearman"], by_depth[:, 0])
    assert np.isnan(result.columns["mprt_spearman_last"]).all()
    assert result.summary["mprt_spearman_last"]["value"] is None
    assert result.summary["constant_redrawn"]["value"] == pytest.approx(2 / 3)
    assert any("66.7 %" in note for note in result.test.notes(result.summary))


class Flat(OwnForward):
    """The same value everywhere."""

    name = "flat"

    def __call__(self, classifier, images, classes, context=None):
        return super().__call__(classifier, images, classes, context) * 0


def test_a_constant_map_is_counted_and_never_scored(classifier, images):
    result = run(classifier, images, explainers=[Flat()])
    assert result.columns["degenerate"].all()
    for name in ("mprt_spearman", "mprt_ssim", "random_logit", "efficient_mprt"):
        assert np.isnan(result.columns[name]).all()
        assert result.summary[name]["value"] is None


def test_depths_are_shares_of_the_layers():
    paths = [str(place) for place in range(7)]

    def spans(**rules):
        return [depth.layers for depth in depths_of(paths, RandomisationProtocol(**rules))]

    assert spans(depths=(0.5, 1.0)) == [["6", "5", "4", "3"], ["2", "1", "0"]]
    assert spans(depths=(0.5, 1.0), order="bottom_up") == [["0", "1", "2", "3"], ["4", "5", "6"]]
    assert spans(depths=(0.01, 1.0), mode="independent") == [["6"], ["0"]]
    assert spans(depths=(0.0,)) == [[path] for path in paths[::-1]]
    assert places_on_curve(99, RandomisationProtocol(depths=(0.0,)))[::9] == [9, 98]
    assert places_on_curve(2, RandomisationProtocol(depths=(0.5, 1.0))) == [0, 1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"preset": "adebayo"}, r"^preset: unknown value 'adebayo'; expected one of paper"),
        ({"depths": (0.5, 0.2)}, r"^depths: got 0.5, 0.2; expected increasing shares"),
        ({"depths": (1.5,)}, r"^depths: got 1.5; expected increasing shares"),
        ({"depths": ()}, r"^depths: got none; expected increasing shares"),
        ({"measures": ("pearson",)}, r"^measures: .*pearson.*; expected .*spearman"),
        ({"measures": ("ssim", "ssim")}, r"^measures: got ssim, ssim; expected some of spearman"),
        ({"weight_seed": -1}, r"^weight_seed: -1 found; expected a whole number from 0"),
        ({"mode": "both"}, r"^mode: unknown value 'both'; expected one of cascading"),
    ],
)
def test_options_that_are_none(classifier, images, options, message):
    with pytest.raises(XkdError, match=message):
        run(classifier, images, **options)


def test_a_single_class_has_no_other(images):
    model = nn.Sequential(nn.Conv2d(3, 1, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    head = CamHead("0", None, "NCHW", relu=False, steps=(), map_size=(18, 18), proof_error=0.0)
    single = Classifier(model, Preprocess(size=(20, 20)), name="single", num_classes=1, head=head)
    with pytest.raises(XkdError, match=r"^random_logit: the network has a single class"):
        run(single, images)
    assert "random_logit" not in run(single, images, "randomisation:random_logit=off").summary


@pytest.mark.parametrize(
    ("options", "is_there"),
    [
        ("depths=1", True),
        ("depths=0", True),
        ("depths=0.5", False),
        ("depths=1,mode=independent", False),
        ("preset=xplique", False),
    ],
)
def test_complexity_has_risen_only_where_nothing_learned_is_left(classifier, options, is_there):
    result = run(classifier, EmbeddedDataset("test", size=2), f"randomisation:{options}")
    assert ("efficient_mprt" in result.summary) == ("efficient_mprt" in result.columns) == is_there


@pytest.mark.parametrize("preset", ["paper", "quantus", "xplique", "efficient"])
def test_a_summary_says_whose_rules_they_are(classifier, preset):
    result = run(classifier, EmbeddedDataset("test", size=2), f"randomisation:preset={preset}")
    assert result.summary["preset"]["name"] == preset
    assert (result.summary["preset"]["departs_from_paper"] is None) == (preset == "paper")
    assert [spec.role for spec in result.test.specs()].count("headline") == 1


def test_it_keeps_the_contract():
    check_test("randomisation")


# Golden values: two of the eight photographs, as each has 100 maps.
PLACES = (0, 6)


@pytest.mark.parametrize(
    ("mode", "entry"),
    [("cascading", "top_down"), pytest.param("independent", "independent", marks=pytest.mark.long)],
)
def test_golden_mprt(golden, mode, entry):
    expected = golden.metrics[f"mprt/quantus/{entry}"]
    columns = golden.run(f"randomisation:preset=quantus,mode={mode}", None, PLACES).columns
    np.testing.assert_allclose(columns["mprt_absolute"], np.array(expected["per_image"])[list(PLACES)], atol=1e-4)
    layers = layers_of(golden.classifier.model)
    paths = ["fc" if path == "_fc" else f"features.{path}" for path in layers]
    if mode == "cascading":
        assert ["original", *paths[::-1]] == expected["layers"]
    # The file lists all layers of the cascade, and each eighth of the independent ones.
    ordered = paths[::-1]
    for name, values in expected["by_layer"].items():
        if name != "original":
            found = columns["mprt_absolute_by_depth"][:, ordered.index(name)]
            np.testing.assert_allclose(found, np.array(values)[list(PLACES)], atol=1e-4)


def test_golden_efficient_mprt(golden):
    expected = golden.metrics["efficient_mprt/quantus"]["per_image"]
    columns = golden.run("randomisation:preset=efficient", None, range(8)).columns
    np.testing.assert_allclose(columns["efficient_mprt"], expected, atol=1e-4)


def test_golden_random_logit(golden):
    """The peer draws the other classes of a batch at once, and divides by the batch's largest value: both are given."""
    expected, data = golden.metrics["random_logit/quantus"], golden.photographs
    classifier = golden.classifier
    pixels = torch.stack([classifier.preprocess.pixels(data.load(place).image) for place in range(16)])
    with torch.no_grad():
        logits, features = classifier.forward_with_features(classifier.preprocess.normalise(pixels))
    classes = torch.stack([logits.argmax(1), torch.tensor(expected["off_classes"])], 1)
    maps = classifier.cams(features, classes)
    ours, others = (resized(maps[:, place], Preprocess(size=(224, 224)).size) for place in (0, 1))
    found = random_logit("flattened", ours / ours.abs().max(), others / others.abs().max())
    np.testing.assert_allclose(found, expected["per_image"], atol=1e-4)
