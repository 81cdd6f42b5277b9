"""A protocol holds what the computation reads: each rule, changed alone, changes the hash and what is computed."""

from __future__ import annotations

import functools
import json
from dataclasses import fields, replace

import numpy as np
import pytest

from tests.evaluations.randomisation.networks import attending
from xkd_eval import evaluate
from xkd_eval.datasets.embedded import EmbeddedDataset
from xkd_eval.evaluations import TESTS, Rules
from xkd_eval.explainers.cam import Cam
from xkd_eval.study.choose import explainers_of
from xkd_eval.study.options import RunOptions

OTHERS = {
    "preprocess": {"resize": "crop"},
    "cam_channels": "mean",
    "target": "true",
    "probability": "sigmoid",
    "fractions": (0.2, 0.7),
    "fill": "mean",
    "tie_seed": 1,
    "bins": 16,
    "localisation.target": "predicted",
    "localisation.regions": "masks",
    "localisation.threshold": 0.6,
    "localisation.tolerance": 1.0,
    "localisation.top_pixels": 50,
    "localisation.largest": "component",
    "localisation.peak": "any",
    "localisation.energy_box": "first",
    "form": "relu",
    "seed": 1,
    "pixel_flipping.feature": "values",
    "pixel_flipping.steps": 5,
    "pixel_flipping.infill": "lowest",
    "pixel_flipping.start": False,
    "pixel_flipping.area": "by_count",
    "aopc.region": 56,
    "aopc.regions": 5,
    "aopc.infill": "shade",
    "irof.segments": 30,
    "irof.compactness": 0.1,
    "irof.infill": "black",
    "sic.shares": (0.2, 0.7),
    "sic.start": 0.1,
    "sic.least": 0.0,
    "sic.monotone": False,
    "cka_images": 8,
    "sparseness_epsilon": 0.1,
    "entropy_epsilon": 0.1,
    "threshold": 0.5,
    "faithfulness.measure": "estimate",
    "faithfulness.answer": "logit",
    "faithfulness.fill": "black",
    "faithfulness.units": "values",
    "faithfulness.groups": 49,
    "faithfulness.removed": (0.4,),
    "faithfulness.draw": "fixed",
    "faithfulness.samples": 100,
    "faithfulness.statistic": "pearson",
    "faithfulness.seed": 1,
    "mode": "independent",
    "randomisation.order": "bottom_up",
    "randomisation.layers": "public",
    "depths": (0.5,),
    "measures": ("ssim",),
    "redrawn": "uniform",
    "seeding": "same",
    "weight_seed": 1,
    "random_logit": "flattened",
    "radius": 0.1,
    "samples": 3,
    "relative": False,
    "noise_seed": 1,
    "sigma": 0.1,
    "normalised": False,
    "infidelity.form": "relu",
    "low": -0.1,
    "high": 0.1,
    "changed_prediction": "undefined",
    "road.form": "relu",
    "road.removal": "percentile",
    "road.noise": 0.3,
    "road.noise_space": "normalised",
    "road.noise_seed": 1,
    "adcc.form": "relu",
    "arcc.form": "relu",
    "arcc.removal": "percentile",
    "arcc.noise": 0.3,
    "arcc.noise_space": "unit",
    "arcc.noise_seed": 1,
    "confidence.form": "lowres",
    "confidence.epsilon": 0.5,
    "confidence.drop": "absolute",
    "confidence.answer": "logit",
    "insertion_deletion.steps": 7.0,
    "insertion_deletion.schedule": "equal",
    "insertion_deletion.ends": "neither",
    "insertion_deletion.area": "by_count",
    "insertion_deletion.deletion_to": "black",
    "insertion_deletion.insertion_from": "mean",
    "insertion_deletion.answer": "logit",
    "side": 3,
    "confidence": 0.9,
    "correct_only": True,
    "grid_pointing.order": "listed",
    "grids": 1,
}
"""Rule, or TEST.RULE, -> another value; a rule that has none here fails, so none can be added that nothing reads."""

BESIDE = {
    "grid_pointing": {"confidence": 0.0, "correct_only": False},
    "pixel_flipping": {"steps": 6},
    "aopc": {"regions": 6},
    "irof": {"segments": 8},
    "sic": {"shares": (0.1, 0.4)},
    "randomisation": {"depths": (0.5, 1.0)},
    "robustness": {"samples": 2},
    "infidelity": {"samples": 2},
    "stability": {"samples": 2},
}
"""Test -> the rules under which its others are tried: what all models know is seldom, and its label is no news; few
forwards and explanations do."""

FEW = {"road": 4, "arcc": 4, "faithfulness": 4}
"""Test -> how many images are enough, where each costs much."""


@pytest.fixture(scope="module")
def images():
    return EmbeddedDataset("test", size=30)


class Flat(Cam):
    """The same value everywhere."""

    name = "flat_for_the_test"

    def __call__(self, classifier, images, classes, context=None):
        return super().__call__(classifier, images, classes, context) * 0


# Ties decide nothing in a map without ties: these rules are tried on maps that are constant, or nearly.
TIED = {"tie_seed": Flat(), "peak": "fake_cam"}


EMBEDDED = ("embedded/teacher", "embedded/plain")
# Only torch's attention is a layer of one kind and not of the other.
NETWORKS = {"randomisation.layers": {"attending": attending()}}
"""TEST.RULE -> the models under which it is tried, where the embedded ones lack what it is of."""


def cases():
    for name in TESTS.names():
        for rule in fields(TESTS[name].Protocol):
            if rule.name != "name":
                yield name, rule.name


@functools.cache
def computed(test, rules_text: str, images, explainer, networks: str):
    """The rows, without what a test's explainer is made of."""
    rules = test.Protocol.from_dict(json.loads(rules_text))
    made = test.from_description(rules.to_dict(), test.create(Rules(), test.Options()).settings())
    chosen = list(explainers_of([explainer], rules, RunOptions()).values())
    maps = [method.parameters() for method in chosen]
    if rules.cam_channels != "sum":  # a study has it from its named protocol
        return maps
    found = evaluate(
        NETWORKS.get(networks, EMBEDDED),
        images,
        tests=[made],
        explainers=chosen,
        resize=rules.preprocess["resize"],
        limit=FEW.get(test.name, 12),
    )
    return {name: np.asarray(values).tolist() for name, values in found.results[-1].columns.items()}


@pytest.mark.parametrize(("name", "rule"), list(cases()))
def test_each_rule_changes_what_is_computed(name, rule, images):
    test = TESTS[name]
    usual = replace(test.create(Rules(), test.Options()).protocol, **BESIDE.get(name, {}))
    if rule == "cam_channels" and not test.needs_maps:
        pytest.skip("no maps")
    other = replace(usual, **{rule: OTHERS.get(f"{name}.{rule}", OTHERS.get(rule))})
    assert other.hash != usual.hash
    explainer = TIED.get(rule, "cam")
    networks = f"{name}.{rule}" if f"{name}.{rule}" in NETWORKS else ""
    ours, theirs = (
        computed(test, json.dumps(rules.to_dict()), images, explainer, networks) for rules in (other, usual)
    )
    assert ours != theirs


def test_the_name_is_in_no_hash():
    assert Rules(name="another").hash == Rules().hash
