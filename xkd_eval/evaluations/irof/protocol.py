"""The rules of IROF."""

from __future__ import annotations

from dataclasses import dataclass

from xkd_eval.errors import check_choice
from xkd_eval.evaluations.forms import FORMS
from xkd_eval.evaluations.infills import SETTLED
from xkd_eval.evaluations.irof.options import IrofOptions
from xkd_eval.evaluations.protocol import Rules


@dataclass(frozen=True)
class IrofProtocol(Rules):
    """Iterative removal of features.

    Attributes:
        segments: about how many superpixels SLIC cuts an image into.
        compactness: of SLIC.
        infill: what a removed segment becomes, of infills.SETTLED.
        form: of the map, of forms.FORMS.
        tie_seed: of the permutation that breaks ties and stands in for degenerate maps.
    """

    segments: int = 100
    compactness: float = 10.0
    infill: str = "mean"
    form: str = "minmax"
    tie_seed: int = 0


def irof_protocol(rules: Rules, options: IrofOptions) -> IrofProtocol:
    """The shared rules with the test's own.

    Raises:
        XkdError: an unknown infill or form.
    """
    check_choice("infill", options.infill, SETTLED)
    check_choice("form", options.form, tuple(FORMS))
    return IrofProtocol(**rules.shared(), **vars(options))
