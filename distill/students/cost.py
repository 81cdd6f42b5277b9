"""What a classifier costs: parameters, multiply-accumulates, bytes of its file."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from xkd_eval.ambient import plain_torch
from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.classifiers.graphs.network import GraphNetwork


@dataclass(frozen=True)
class Cost:
    """What a network costs, whatever runs it.

    Attributes:
        parameters: numbers that training may change, each once; buffers, such as running means, are none.
        macs: multiply-accumulates of one image at the classifier's own input size: those of convolutions and matrix
            products, attention included. Biases, norms, activations and pools are left out, as in most papers. None for
            a network that cannot be counted.
    """

    parameters: int
    macs: int | None


@plain_torch()
def cost_of(classifier: Classifier) -> Cost:
    """Count a classifier's parameters and, by torch's own counter, its multiply-accumulates.

    Args:
        classifier: left as it is.
    """
    parameters = classifier.n_parameters
    if isinstance(classifier.model, GraphNetwork):  # of whose work torch sees nothing
        return Cost(parameters, None)
    with torch.inference_mode(False), torch.enable_grad():
        return Cost(parameters, _macs(classifier.private()))


def _macs(classifier: Classifier) -> int | None:
    device = next((parameter.device for parameter in classifier.parameters()), torch.device("cpu"))
    images = torch.zeros(1, classifier.preprocess.channels, *classifier.preprocess.size, device=device)
    # Without a gradient, torch.nn's attention would be one operation of which the counter knows nothing.
    images.requires_grad_()
    counter = FlopCounterMode(display=False)
    try:
        with sdpa_kernel(SDPBackend.MATH), counter:
            classifier(images)
    except Exception:  # operations from outside may refuse to be watched; a training must not be lost for a count
        return None
    return int(counter.get_total_flops()) // 2
