"""The rules of the infidelity test, and their arithmetic."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from xkd_eval.errors import XkdError, check_choice
from xkd_eval.evaluations.forms import FORMS
from xkd_eval.evaluations.infidelity.options import InfidelityOptions
from xkd_eval.evaluations.noise import check_drawn
from xkd_eval.evaluations.presets import Preset, rules_of
from xkd_eval.evaluations.protocol import Rules


@dataclass(frozen=True)
class InfidelityProtocol(Rules):
    """Infidelity.

    Attributes:
        sigma: standard deviation of the noise that is taken off the normalised image.
        samples: noisy images of each photograph.
        normalised: the map is scaled as fits the answers best.
        form: of the map, which stands for each of the three channels.
        noise_seed: of the noise.
        tie_seed: of the permutation that stands in for degenerate maps.
    """

    sigma: float = 0.2
    samples: int = 10
    normalised: bool = True
    form: str = "minmax"
    noise_seed: int = 0
    tie_seed: int = 0


PRESETS = {
    "captum": Preset({"sigma": 0.2, "samples": 10, "normalised": True, "form": "minmax"}),
    "latec": Preset(
        {"sigma": 0.005, "samples": 50, "normalised": False, "form": "minmax"},
        "the map is not scaled to fit, so that the figure says more of the map's scale than of the map",
    ),
}
"""Sigma of `captum` is that of the authors' own code, which scales the map as well."""


def infidelity_protocol(rules: Rules, options: InfidelityOptions) -> InfidelityProtocol:
    """The shared rules with the test's own.

    Raises:
        XkdError: an unknown preset or form, or a sigma, a number of samples or a seed that is none.
    """
    found = rules_of(PRESETS, options)
    check_choice("form", found["form"], tuple(FORMS))
    check_drawn(found["samples"], options.noise_seed, sigma=found["sigma"])
    if found["normalised"] and found["samples"] == 1:
        raise XkdError("samples: 1 found, to which every map is scaled without error; expected two or more")
    return InfidelityProtocol(**rules.shared(), **found, noise_seed=options.noise_seed)


def infidelity(foretold: Tensor, found: Tensor, *, normalised: bool) -> Tensor:
    """Mean squared difference between what a map foretells and what the answers did.

    Args:
        foretold: (B, n) inner products of map and noise.
        found: (B, n) differences of the answers.
        normalised: the map is scaled by the factor that makes the difference least.

    Returns:
        (B,) >= 0.
    """
    if normalised:
        power = (foretold**2).mean(1)
        factor = (foretold * found).mean(1) / power.where(power > 0, 1)
        foretold = factor[:, None] * foretold
    return ((foretold - found) ** 2).mean(1)
