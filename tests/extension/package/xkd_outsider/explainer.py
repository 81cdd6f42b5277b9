"""An explainer that looks at no network: a disc around the brightest pixel."""

from dataclasses import dataclass

import torch

from xkd_eval import Explainer


@dataclass(frozen=True)
class Blob(Explainer):
    """A Gaussian around the brightest pixel, `sigma` pixels wide."""

    name = "blob"
    citation = "nobody, nowhere"
    cost = "0"
    model_free = True

    sigma: float = 4.0

    def __call__(self, classifier, images, classes, context=None):
        height, width = images.shape[2:]
        peak = images.sum(1).flatten(1).argmax(1)
        rows = torch.arange(height, device=images.device) - (peak // width)[:, None]
        columns = torch.arange(width, device=images.device) - (peak % width)[:, None]
        distance = rows[:, :, None].square() + columns[:, None, :].square()
        return torch.exp(-distance / (2 * self.sigma**2))
