"""A network that is quick to evaluate and whose CAM head is known."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from xkd_eval.classifiers.classifier import CamHead, Classifier
from xkd_eval.classifiers.preprocess import Preprocess


class SmallNetwork(nn.Module):
    """Convolutions, batch norms, ReLUs, global average pooling and a linear head: (B, 3, 32, 32) -> 8x8 maps -> (B, K).

    Args:
        num_classes: K.
    """

    def __init__(self, num_classes: int = 5) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1),
            nn.BatchNorm2d(8),
            nn.ReLU(inplace=True),
            nn.Conv2d(8, 12, 3, 2, 1),
            nn.BatchNorm2d(12),
            nn.ReLU(inplace=True),
        )
        self.head = nn.Linear(12, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, K)."""
        return self.head(self.features(images).mean((2, 3)))


def small_classifier(seed: int = 0) -> Classifier:
    """A SmallNetwork of 5 classes with its CAM head, whose norms' statistics and biases are no identity.

    Args:
        seed: of its weights.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = SmallNetwork()
        with torch.no_grad():
            for module in model.modules():
                if isinstance(module, nn.BatchNorm2d):
                    for values, low, high in (
                        (module.running_mean, -0.1, 0.1),
                        (module.running_var, 0.5, 1.5),
                        (module.weight, 0.5, 1.5),
                        (module.bias, -0.1, 0.1),
                    ):
                        assert values is not None
                        values.uniform_(low, high)
    head = CamHead("features", "head", "NCHW", relu=False, steps=(), map_size=(8, 8), proof_error=0.0)
    return Classifier(
        model.eval().requires_grad_(False), Preprocess(size=(32, 32)), name="SmallNetwork", num_classes=5, head=head
    )
