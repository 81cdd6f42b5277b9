"""Parameters and multiply-accumulates, by hand and as published."""

import pytest
import torch
import torchvision
from torch import nn

from distill.students.cost import Cost, cost_of
from distill.students.latency import latency_of
from xkd_eval import Classifier, Preprocess, load_classifier


def classifier_of(module, size, num_classes=10):
    return Classifier(module, Preprocess(size=(size, size)), name="mine", num_classes=num_classes)


def test_by_hand():
    module = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=False),  # 16 x 16 places, 8 x 3 x 9 each
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, stride=2, padding=1, groups=8),  # 8 x 8 places, 8 x 9 each
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 10),  # 80
    )
    expected = 16 * 16 * 8 * 3 * 9 + 8 * 8 * 8 * 9 + 80
    parameters = 216 + 16 + (72 + 8) + (80 + 10)
    module.train()
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        assert cost_of(classifier_of(module, 16)) == Cost(parameters, expected)
    assert module.training
    assert not any(part._forward_hooks for part in module.modules())


class Attention(nn.Module):
    """One head of torch.nn's own attention over 4 x 4 patches of 16 channels."""

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 4, 4)
        self.attention = nn.MultiheadAttention(16, 1, batch_first=True)
        self.head = nn.Linear(16, 10)

    def forward(self, images):
        tokens = self.patches(images).flatten(2).transpose(1, 2)
        return self.head(self.attention(tokens, tokens, tokens, need_weights=False)[0].mean(1))


def test_attention_is_counted():
    patches, project, attend, head = 16 * 16 * 48, 16 * 16 * (3 * 16 + 16), 2 * 16 * 16 * 16, 160
    assert cost_of(classifier_of(Attention().eval(), 16)).macs == patches + project + attend + head


def test_resnet18_is_what_is_published():
    """1.81 G at 224 pixels (torchvision's model card); here at 64, which divides the convolutions by 12.25."""
    network = torchvision.models.resnet18()
    cost = cost_of(classifier_of(network, 64, 1000))
    assert cost.parameters == 11_689_512
    assert (cost.macs - 512_000) * 12.25 + 512_000 == pytest.approx(1.814e9, rel=1e-3)


class Unwatched(nn.Module):
    def forward(self, images):
        if images.requires_grad:
            raise RuntimeError("no gradient")
        return images.mean((2, 3))


def test_a_network_that_cannot_be_counted_has_no_count():
    assert cost_of(classifier_of(Unwatched(), 8, 3)) == Cost(0, None)


def test_a_larger_network_takes_longer():
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten())
    small = nn.Sequential(nn.Conv2d(3, 4, 3), *head)
    large = nn.Sequential(nn.Conv2d(3, 256, 3), nn.Conv2d(256, 4, 3), *head)  # of 100 times the multiplications
    quick, slow = (latency_of(classifier_of(module, 64, 4), "cpu", 0.01) for module in (small, large))
    assert slow.milliseconds > 2 * quick.milliseconds
    assert slow.images_per_second < quick.images_per_second / 2
    assert (quick.batch_size, quick.device, quick.threads) == (64, "cpu", torch.get_num_threads())
    assert "1 thread, float32" in str(quick)


def test_a_graph_is_counted_in_its_file_and_its_work_is_not_known(tmp_path):
    pytest.importorskip("onnxruntime")
    from distill.students.evaluate import evaluate
    from distill.students.export import export

    for suffix in (".onnx", ".xml"):
        export("embedded/kd", tmp_path / f"kd{suffix}")
    found = evaluate([tmp_path / "kd.onnx", tmp_path / "kd.xml", "embedded/kd"], limit=20)
    onnx, openvino, torch_ = found.models
    norms = sum(len(part.weight) for part in load_classifier("embedded/kd").modules() if hasattr(part, "running_mean"))
    assert onnx.cost == openvino.cost == Cost(torch_.cost.parameters - norms, None)  # folded: a bias is left of each
    assert onnx.file_bytes == (tmp_path / "kd.onnx").stat().st_size
    assert openvino.file_bytes == sum((tmp_path / f"kd{suffix}").stat().st_size for suffix in (".xml", ".bin"))
    assert onnx.scores.top1 == openvino.scores.top1 == torch_.scores.top1
