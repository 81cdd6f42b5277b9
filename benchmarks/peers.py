"""What other packages call their metrics, as their users call them: one function a metric, for benchmarks/metrics.py.

Each takes photographs as the network takes them, maps in [0, 1] and classes, all of one batch or image by image as the
package's own examples do, and returns what the package returns. They are imported when they are called.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Asked:
    """What a peer is given.

    Attributes:
        network: a torch module that gives logits, with batch norms and head as it was trained.
        features: name of the module whose output the CAM is read off.
        images: (B, 3, H, W) normalised.
        pixels: (B, H, W, 3) uint8.
        maps: (B, H, W) in [0, 1].
        low: (B, h, w) raw maps.
        classes: (B,) predicted.
    """

    network: nn.Module
    features: str
    images: Tensor
    pixels: np.ndarray
    maps: Tensor
    low: Tensor
    classes: Tensor


class _Softmax(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images).softmax(1)


def torchcam_insertion_deletion(asked: Asked) -> Any:
    """torchcam.metrics.DeletionInsertionMetric with its defaults and a softmax."""
    from torchcam.methods import CAM
    from torchcam.metrics import DeletionInsertionMetric

    with CAM(asked.network, asked.features, "fc", input_shape=(3, 224, 224)) as extractor:
        metric = DeletionInsertionMetric(extractor, partial(torch.softmax, dim=-1))
        for image in asked.images:
            metric.update(image[None])
        return metric.summary()


def torchcam_confidence(asked: Asked) -> Any:
    """torchcam.metrics.ClassificationMetric with a softmax."""
    from torchcam.methods import CAM
    from torchcam.metrics import ClassificationMetric

    with CAM(asked.network, asked.features, "fc", input_shape=(3, 224, 224)) as extractor:
        metric = ClassificationMetric(extractor, partial(torch.softmax, dim=-1))
        for image in asked.images:
            metric.update(image[None])
        return metric.summary()


def gradcam_road(asked: Asked) -> Any:
    """pytorch_grad_cam's ROADCombined over nine percentiles: both orders."""
    from pytorch_grad_cam.metrics.road import ROADCombined
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputSoftmaxTarget

    metric = ROADCombined()
    return [
        metric(image[None], scaled[None].numpy(), [ClassifierOutputSoftmaxTarget(int(target))], asked.network)
        for image, scaled, target in zip(asked.images, asked.maps, asked.classes, strict=True)
    ]


def quantus(name: str, *, softmax: bool = True, channels: int = 1, explained: bool = False, **options: Any) -> Any:
    """A Quantus metric by its name.

    Args:
        name: of its class.
        softmax: score probabilities.
        channels: of the maps that it is given.
        explained: give it a function that explains, instead of maps.
        options: of the class.
    """

    def call(asked: Asked) -> Any:
        import quantus as package

        metric = getattr(package, name)(disable_warnings=True, **options)
        given: dict[str, Any] = {"a_batch": asked.maps[:, None].expand(-1, channels, -1, -1).numpy()}
        if explained:
            given = {"explain_func": _cam, "explain_func_kwargs": {"features": asked.features}}
        return metric(
            model=asked.network,
            x_batch=asked.images.numpy(),
            y_batch=asked.classes.numpy(),
            softmax=softmax,
            device="cpu",
            **given,
        )

    return call


def captum_infidelity(asked: Asked) -> Any:
    """captum.metrics.infidelity, normalised, ten samples of deviation 0.005."""
    from captum.metrics import infidelity

    def noisy(inputs: Tensor) -> tuple[Tensor, Tensor]:
        noise = 0.005 * torch.randn_like(inputs)
        return noise, inputs - noise

    maps = asked.maps[:, None].expand(-1, 3, -1, -1)
    return [
        infidelity(
            asked.network,
            noisy,
            image[None],
            attribution[None],
            target=int(target),
            n_perturb_samples=10,
            normalize=True,
        )
        for image, attribution, target in zip(asked.images, maps, asked.classes, strict=True)
    ]


def captum_sensitivity(asked: Asked) -> Any:
    """captum.metrics.sensitivity_max with its defaults."""
    from captum.metrics import sensitivity_max

    def explained(images: Any, targets: Any = None) -> tuple[Tensor]:
        image = images[0] if isinstance(images, tuple) else images
        return (torch.from_numpy(_cam(asked.network, image, targets, asked.features)),)

    return [
        sensitivity_max(explained, image[None], targets=np.array([int(target)]))
        for image, target in zip(asked.images, asked.classes, strict=True)
    ]


def saliency_sic(asked: Asked) -> Any:
    """saliency.metrics.pic.compute_pic_metric on softmax probabilities; images that it refuses are left out."""
    from saliency.metrics import pic

    thresholds = [0.005, 0.01, 0.02, 0.03, 0.04, 0.05, 0.07, 0.10, 0.13, 0.21, 0.34, 0.5, 0.75]
    mean, std = 127 / 255, 128 / 255
    found = []
    for place, (pixels, scaled, target) in enumerate(zip(asked.pixels, asked.maps, asked.classes, strict=True)):

        def answer(images: np.ndarray, target: int = int(target)) -> np.ndarray:
            inputs = (torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255 - mean) / std
            with torch.no_grad():
                return asked.network(inputs).softmax(1)[:, target].numpy()

        np.random.seed(place)
        mask = pic.generate_random_mask(*pixels.shape[:2], fraction=0.01)
        try:
            found.append(pic.compute_pic_metric(pixels, scaled.numpy(), mask, answer, thresholds, min_pred_value=0.0))
        except pic.ComputePicMetricError:
            continue
    return found


def _cam(model: nn.Module, inputs: Any, targets: Any, features: str = "", **_: Any) -> np.ndarray:
    """CAM of the classes, (B, 1, H, W), by one forward with a hook, as users of these packages write it."""
    images = torch.as_tensor(inputs)
    kept: list[Tensor] = []
    handle = model.get_submodule(features).register_forward_hook(lambda *found: kept.append(found[2]))
    with torch.no_grad():
        model(images)
    handle.remove()
    weight = model.get_submodule("fc").weight[torch.as_tensor(targets).long().reshape(-1)]
    maps = torch.einsum("bchw,bc->bhw", kept[0].relu(), weight.expand(len(images), -1))
    enlarged = nn.functional.interpolate(maps[:, None], images.shape[2:], mode="bilinear", align_corners=False)
    return enlarged.detach().numpy()


Peer = Callable[[Asked], Any]
