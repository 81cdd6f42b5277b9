"""Which explainers hold for a classifier, and for one that does not, which do instead."""

from __future__ import annotations

from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.errors import ExplainerError, XkdError
from xkd_eval.explainers.base import EXPLAINERS, Explainer
from xkd_eval.registry import described

# The most faithful of each kind first: closed form, a layer's map, attention, pixels, black boxes.
_PREFERRED = (
    *("cam", "gradcam", "layercam", "eigencam", "transformer_attribution", "attention_rollout"),
    *("integrated_gradients", "saliency", "occlusion", "rise"),
)
_KNOWN, _NAMED = "explainers that hold", 3


def check_holds(explainer: Explainer, classifier: Classifier) -> None:
    """Raise ExplainerError, with the reason and explainers that do hold, where one does not hold for a classifier."""
    if refused := refusal(explainer, classifier):
        raise ExplainerError(refused)


def refusal(explainer: Explainer, classifier: Classifier) -> str:
    """Why an explainer does not hold for a classifier, and which do; empty where it does."""
    why = why_not(explainer, classifier)
    return f"{why}; use {alternatives(classifier)}" if why else ""


def why_not(explainer: Explainer, classifier: Classifier) -> str:
    """Why an explainer does not hold for a classifier; empty where it does."""
    try:
        explainer.check(classifier)
    except XkdError as error:
        return str(error)
    except Exception as error:  # an explainer of another package may raise anything
        return described(error)
    return ""


def alternatives(classifier: Classifier) -> str:
    """The first few explainers that hold, as a sentence names them; asked once a classifier."""
    if _KNOWN not in classifier.known:
        holding = (name for name in _PREFERRED if not why_not(EXPLAINERS[name](), classifier))
        classifier.known[_KNOWN] = [name for name, _ in zip(holding, range(_NAMED), strict=False)]
    *others, last = classifier.known[_KNOWN]
    return f"{', '.join(others)} or {last}" if others else last
