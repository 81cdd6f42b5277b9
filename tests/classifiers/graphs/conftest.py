"""Networks and their files, each made once for all tests here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
import torchvision
from torch import nn

from tests.classifiers.graphs.files import write_integers, write_onnx, write_openvino
from xkd_eval import load_classifier

K = 10
SIZES = {"resnet18": 64, "convnext": 64, "mobilenet": 64, "squeezenet": 64, "kd": 40, "vit": 160}


def build(name: str) -> nn.Module:
    """A network of random weights, but for kd, which is trained."""
    torch.manual_seed(0)
    match name:
        case "resnet18":
            return torchvision.models.resnet18(num_classes=K).eval()
        case "mobilenet":
            return torchvision.models.mobilenet_v3_small(num_classes=K).eval()
        case "squeezenet":
            return torchvision.models.squeezenet1_1(num_classes=K).eval()
        case "convnext":
            return timm.create_model("convnext_atto", num_classes=K).eval()
        case "vit":
            return timm.create_model("test_vit", num_classes=K, global_pool="avg").eval()
    return load_classifier("embedded/kd").model


@pytest.fixture(scope="session")
def network() -> Callable[[str], nn.Module]:
    """Name -> the network in torch."""
    made: dict[str, nn.Module] = {}

    def of(name: str) -> nn.Module:
        if name not in made:
            made[name] = build(name)
        return made[name]

    return of


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory, network) -> Callable[[str], Path]:
    """ "kd.onnx", "kd.xml", "kd.QDQ.onnx", "kd.QOperator.onnx", "kd.dynamic.onnx", "kd.QDQ.xml" -> that file."""
    folder = tmp_path_factory.mktemp("graphs")

    def of(name: str) -> Path:
        path = folder / name
        if path.exists():
            return path
        if path.suffix == ".xml":
            return write_openvino(of(f"{path.stem}.onnx"), path)
        plain, _, how = path.stem.partition(".")
        if how:
            return write_integers(of(f"{plain}.onnx"), path, how, SIZES[plain])
        return write_onnx(network(plain), path, SIZES[plain], newest=plain in ("kd", "convnext"))

    return of
