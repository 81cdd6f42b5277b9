"""The colours of models are told apart by everybody, and curves without colour too."""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import pytest

from xkd_eval.figures.curves import _line_style
from xkd_eval.figures.forest import _MARKS
from xkd_eval.figures.style import LINE_STYLES, MARKERS, PALETTE

# Machado, Oliveira and Fernandes, IEEE TVCG 2009: what is seen at severity 1, on linear RGB.
_VISION = {
    "normal": np.eye(3),
    "protanopia": [
        *([0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]),
    ],
    "deuteranopia": [
        *([0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]),
    ],
    "tritanopia": [
        *([1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]),
    ],
}
_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
_WHITE = np.array([0.95047, 1.0, 1.08883])


def _lab(colour: str, vision: str) -> np.ndarray:
    shares = np.array([int(colour[start : start + 2], 16) for start in (1, 3, 5)]) / 255
    linear = np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)
    x, y, z = np.cbrt(_XYZ @ np.clip(np.asarray(_VISION[vision]) @ linear, 0, 1) / _WHITE)
    # Below (6 / 29)^3 CIELAB is a straight line; of the palette black alone lies there.
    return np.array([max(116 * y - 16, 0.0), 500 * (x - y), 200 * (y - z)])


def _ciede2000(one: np.ndarray, other: np.ndarray) -> float:
    """Sharma, Wu and Dalal, Color Research and Application 2005."""
    (l1, a1, b1), (l2, a2, b2) = one, other
    mean_chroma = (np.hypot(a1, b1) + np.hypot(a2, b2)) / 2
    stretch = 1.5 - 0.5 * np.sqrt(mean_chroma**7 / (mean_chroma**7 + 25.0**7))
    c1, c2 = np.hypot(stretch * a1, b1), np.hypot(stretch * a2, b2)
    h1, h2 = (np.degrees(np.arctan2(b, stretch * a)) % 360 for a, b in ((a1, b1), (a2, b2)))
    turn = (h2 - h1 + 180) % 360 - 180 if c1 * c2 else 0.0
    hue = h1 + turn / 2 if c1 * c2 else h1 + h2
    light, chroma = (l1 + l2) / 2, (c1 + c2) / 2
    cosines = ((-0.17, 1, -30), (0.24, 2, 0), (0.32, 3, 6), (-0.20, 4, -63))
    weight = 1 + sum(share * np.cos(np.radians(times * hue + shift)) for share, times, shift in cosines)
    off = (light - 50) ** 2
    lightness = (l2 - l1) / (1 + 0.015 * off / np.sqrt(20 + off))
    chromas = (c2 - c1) / (1 + 0.045 * chroma)
    hues = 2 * np.sqrt(c1 * c2) * np.sin(np.radians(turn / 2)) / (1 + 0.015 * chroma * weight)
    rotation = -np.sin(np.radians(60 * np.exp(-(((hue % 360 - 275) / 25) ** 2)))) * 2
    rotation *= np.sqrt(chroma**7 / (chroma**7 + 25.0**7))
    return float(np.sqrt(lightness**2 + chromas**2 + hues**2 + rotation * chromas * hues))


@pytest.mark.parametrize(
    ("one", "other", "distance"),
    [((50, 2.6772, -79.7751), (50, 0, -82.7485), 2.0425), ((50, 2.5, 0), (61, -5, 29), 22.8977)],
)
def test_distances_are_those_that_the_formulas_authors_print(one, other, distance):
    assert _ciede2000(np.array(one), np.array(other)) == pytest.approx(distance, abs=1e-4)


@pytest.mark.parametrize("vision", _VISION)
def test_any_two_colours_are_far_apart_and_the_first_two_farther(vision):
    seen = [_lab(colour, vision) for colour in PALETTE]
    # A difference of 2.3 is just noticed; 10 is seen at a glance.
    assert min(_ciede2000(one, other) for one, other in combinations(seen, 2)) > 10
    assert _ciede2000(*seen[:2]) > 45
    assert min(_ciede2000(one, np.array([100.0, 0, 0])) for one in seen) > 18  # from paper


def test_curves_are_told_apart_without_colour():
    assert len(set(MARKERS)) == len(set(LINE_STYLES)) == len(PALETTE)
    marked = [_line_style(place, True) for place in range(40)]
    plain = [_line_style(place, False) for place in range(40)]
    assert len({(style["marker"], style["linestyle"]) for style in marked}) == 40
    assert len({style["linestyle"] for style in plain[:7]}) == 7
    assert all(one["linestyle"] != other["linestyle"] for one, other in pairwise(plain))
    assert len({(style["color"], style["linestyle"]) for style in plain}) == 40


def test_claims_are_told_apart_without_colour():
    assert len(set(_MARKS.values())) == len(_MARKS) == 3
