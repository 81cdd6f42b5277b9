"""The rules of the complexity test, and the presets that stand for the papers and for other tools."""

from __future__ import annotations

from dataclasses import dataclass

from xkd_eval.errors import check_choice
from xkd_eval.evaluations.complexity.options import ComplexityOptions
from xkd_eval.evaluations.forms import FORMS
from xkd_eval.evaluations.presets import Preset, rules_of
from xkd_eval.evaluations.protocol import Rules


@dataclass(frozen=True)
class ComplexityProtocol(Rules):
    """Sparseness, entropy, and where there is a threshold effective complexity, of one map an image.

    Attributes:
        form: of the maps, see FORMS.
        sparseness_epsilon: added to every value before the Gini index is taken.
        entropy_epsilon: added within the logarithm.
        threshold: above which a value counts for effective complexity; None leaves it out.
        tie_seed: of the pixel permutation that stands in for degenerate maps.
    """

    form: str = "minmax"
    sparseness_epsilon: float = 0.0
    entropy_epsilon: float = 0.0
    threshold: float | None = None
    tie_seed: int = 0


_PAPER = {"form": "minmax", "sparseness_epsilon": 0.0, "entropy_epsilon": 0.0, "threshold": None}
_QUANTUS = _PAPER | {"sparseness_epsilon": 1e-7, "entropy_epsilon": 1e-12}
_NOT_THE_PAPERS = "effective complexity counts values above a threshold, whatever the model makes of them"

PRESETS = {
    "paper": Preset(_PAPER),
    "quantus": Preset(_QUANTUS | {"threshold": 1e-5}, f"{_NOT_THE_PAPERS}; 1e-7 and 1e-12 are added to values"),
    "latec": Preset(_QUANTUS | {"threshold": 0.01}, f"{_NOT_THE_PAPERS}, here of 0.01; 1e-7 and 1e-12 are added"),
    "xplique": Preset(_PAPER | {"entropy_epsilon": 1e-8}, "1e-8 is added within the entropy's logarithm"),
}
"""Whose rules: Chalasani et al. (ICML 2020) and Bhatt et al. (IJCAI 2020), or a tool's."""


def complexity_protocol(rules: Rules, options: ComplexityOptions) -> ComplexityProtocol:
    """The shared rules with the test's own.

    Raises:
        XkdError: an unknown preset or form.
    """
    chosen = rules_of(PRESETS, options)
    check_choice("form", chosen["form"], tuple(FORMS))
    return ComplexityProtocol(**rules.shared(), **chosen)
