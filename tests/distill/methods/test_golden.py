"""The published implementations' values, through the methods as a recipe creates them."""

from __future__ import annotations

import pytest
import torch

from distill.methods import Pass, create_method
from distill.methods.reviewkd import hcl_loss

LAST = {"student_taps": ["1"], "teacher_taps": ["1"]}


def _passes(inputs):
    """The golden inputs are unrelated arrays, so each method gets the ones it reads."""

    def network(role):
        taps = {str(stage): maps for stage, maps in enumerate(inputs[f"features_{role}"])}
        return Pass(logits=inputs[f"logits_{role}"], taps=taps)

    return network("student"), network("teacher")


@pytest.mark.parametrize(
    ("value", "method", "options"),
    [
        ("kd_T4", "kd", {"temperature": 4}),
        ("kd_T1", "kd", {"temperature": 1.0}),
        ("kd_standardised_T2", "kd", {"temperature": 2, "standardise": True}),
        ("dkd_a1_b8_T4", "dkd", {"alpha": 1, "beta": 8, "temperature": 4}),
        ("dist_b1_g1_tau1", "dist", {"beta": 1, "gamma": 1, "temperature": 1}),
        ("dist_b2_g1_tau4", "dist", {"beta": 2, "gamma": 1, "temperature": 4}),
        ("at_p2", "at", {"power": 2}),
        ("nst", "nst", LAST),
    ],
)
def test_logits_and_taps(golden, value, method, options):
    inputs = golden["inputs"]
    terms = create_method(method, **options)(*_passes(inputs), inputs["labels"])
    assert sum(terms.values()).item() == pytest.approx(golden["values"][value], rel=1e-9)


@pytest.mark.parametrize(
    ("value", "method", "options", "source"),
    [
        ("sp", "sp", {}, "features"),
        ("rkd_d25_a50", "rkd", {"distance": 25, "angle": 50}, "pooled"),
        ("pkt", "pkt", {}, "pooled"),
        ("cat_2x2_raw", "cat_kd", {"grid": 2, "normalise": False}, "cams"),
        ("cat_4x4_normalised", "cat_kd", {"grid": 4, "normalise": True}, "cams"),
    ],
)
def test_last_map(golden, value, method, options, source):
    inputs = golden["inputs"]

    def network(role):
        maps = inputs[f"{source}_{role}"]
        maps = maps[-1] if source == "features" else maps
        maps = maps[:, :, None, None] if source == "pooled" else maps
        # An identity head makes the class activation maps of a map the map itself.
        return Pass(inputs[f"logits_{role}"], maps, head_weight=torch.eye(maps.shape[1], dtype=torch.float64))

    terms = create_method(method, **options)(network("student"), network("teacher"), inputs["labels"])
    assert sum(terms.values()).item() == pytest.approx(golden["values"][value], rel=1e-9)


def test_hierarchical_context_loss(golden):
    pairs = zip(golden["inputs"]["features_student_teacher_width"], golden["inputs"]["features_teacher"], strict=True)
    total = sum(hcl_loss(*pair) for pair in pairs)
    assert total.item() == pytest.approx(golden["values"]["reviewkd_hcl"], rel=1e-9)
