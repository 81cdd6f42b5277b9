"""Networks whose logits are a part of what they give, or one number an image; wrappers, precisions, integers."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from types import SimpleNamespace
from typing import NamedTuple

import pytest
import torch
from torch import nn

from xkd_eval.classifiers import Classifier, load_classifier
from xkd_eval.errors import XkdError
from xkd_eval.explainers import create_explainer
from xkd_eval.explainers.inspection import inspect_classifier
from xkd_eval.testing import SmallNetwork


class Answer(NamedTuple):
    loss: torch.Tensor | None
    logits: torch.Tensor


WAYS = {
    "NamedTuple": lambda logits: Answer(None, logits),
    "dict": lambda logits: OrderedDict(logits=logits, embedding=logits[:, :2]),
    "object": lambda logits: SimpleNamespace(logits=logits, hidden=logits),
    "tuple of one": lambda logits: (logits,),
    "1x1 map": lambda logits: logits[:, :, None, None],
}


class Wrapped(nn.Module):
    """A network within another, which makes something of its logits."""

    def __init__(self, made, network=None):
        super().__init__()
        self.inner = network or SmallNetwork()
        self.made = made

    def forward(self, images):
        return self.made(self.inner(images))


def image(seed=0):
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("way", WAYS)
def test_logits_are_found_in_what_a_network_gives(way):
    model = Wrapped(WAYS[way]).eval()
    classifier = load_classifier(model, size=32)
    assert torch.equal(classifier(image()), model.inner(image()))
    assert (classifier.num_classes, classifier.head.features) == (5, "network.inner.features")


@pytest.mark.parametrize(
    ("output", "place"),
    [(1, 1), ("1", 1), ("second", None), ("0", 0)],
    ids=["place", "written place", "name", "first"],
)
def test_one_of_several_is_named(output, place):
    made = (lambda logits: {"first": logits, "second": -logits}) if place is None else lambda logits: (logits, -logits)
    model = Wrapped(made).eval()
    classifier = load_classifier(model, size=32, output=output)
    sign = 1 if place == 0 else -1
    assert torch.equal(classifier(image()), sign * model.inner(image()))
    assert (classifier.head is not None) == (place == 0)


def test_another_part_of_a_network_is_another_model():
    model = Wrapped(lambda logits: (logits, 2 * logits)).eval()
    first, second = (load_classifier(model, size=32, output=place) for place in (0, 1))
    assert len({first.digest(), second.digest(), load_classifier(model.inner, size=32).digest()}) == 3


@pytest.mark.parametrize(
    ("made", "output", "message"),
    [
        (
            lambda logits: (logits, logits[:, :2]),
            None,
            r"^model: it gives 0 \(.*\(2, 5\)\), 1 .*; say which are the logits, as MODEL,output=0 does",
        ),
        (lambda logits: (logits, logits), 2, r"^model: output=2 found behind it, and it gives 0 "),
        (lambda logits: {"a": logits, "b": logits}, "c", r"^model: output=c found behind it, and it gives a "),
        (
            lambda logits: logits,
            "logits",
            r"^model: output=logits found behind it, and it gives one tensor; leave it out",
        ),
        (lambda logits: {"a": "text"}, None, r"^model: its output is a dict without tensors"),
        (lambda logits: logits[:, :, None], None, r"^model: its output is a float32 tensor \(2, 5, 1\); a classifier"),
        (lambda logits: logits.argmax(1), None, r"^model: its output is a int64 tensor \(2,\); a classifier"),
    ],
    ids=["which", "no such place", "no such name", "one tensor", "no tensor", "three axes", "classes"],
)
def test_what_gives_no_logits_is_one_line(made, output, message):
    with pytest.raises(XkdError, match=message):
        load_classifier(Wrapped(made).eval(), size=32, output=output)


@pytest.mark.parametrize("squeezed", [False, True], ids=["(B, 1)", "(B,)"])
def test_one_logit_makes_two_classes(squeezed):
    network = SmallNetwork(1)
    model = Wrapped(lambda logits: logits[:, 0], network).eval() if squeezed else network.eval()
    classifier = load_classifier(model, size=32)
    images = image()
    expected = network(images).sigmoid()
    torch.testing.assert_close(classifier(images).softmax(1), torch.cat([1 - expected, expected], 1))
    assert classifier.num_classes == 2
    logits, features = classifier.forward_with_features(images)
    maps = classifier.cams(features)
    torch.testing.assert_close(maps.mean((2, 3)) + classifier.head_bias, logits, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(maps[:, 0], -maps[:, 1])
    both = create_explainer("gradcam", relu=False)
    no, yes = (both(classifier, images, torch.full((2,), label)) for label in (0, 1))
    torch.testing.assert_close(no, -yes, rtol=1e-4, atol=1e-6)


def test_one_channel_that_is_the_map_itself():
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3, 4, 1), nn.ReLU(), nn.Conv2d(4, 1, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    classifier = load_classifier(model.eval(), size=32)
    assert classifier.head.linear is None
    logits, features = classifier.forward_with_features(image())
    torch.testing.assert_close(classifier.cams(features).mean((2, 3)), logits, rtol=1e-4, atol=1e-6)
    assert classifier.cams(features, torch.ones(2, 1, dtype=torch.int64)).shape == (2, 1, 8, 8)


@pytest.mark.parametrize("channels", [1, 2, 6])
def test_the_first_convolution_says_how_many_channels_there_are(channels):
    model = nn.Sequential(
        nn.Conv2d(channels, 4, 3, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5)
    ).eval()
    classifier = load_classifier(model, size=32)
    assert classifier.preprocess.channels == channels
    assert classifier(torch.randn(2, channels, 32, 32)).shape == (2, 5)
    with pytest.raises(
        XkdError, match=rf"^images: .* \(2, {channels + 1}, 32, 32\) found; expected \(B, {channels}, H, W\)"
    ):
        classifier(torch.randn(2, channels + 1, 32, 32))


def test_a_stem_that_rearranges_its_input_takes_photographs():
    model = nn.Sequential(nn.PixelUnshuffle(4), nn.Conv2d(48, 4, 3, 1, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    assert load_classifier(model, size=32).preprocess.channels == 3


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning", "ignore::FutureWarning")
def test_a_linear_layer_in_integers_is_proven_up_to_its_steps():
    model = torch.ao.quantization.quantize_dynamic(SmallNetwork().eval(), {nn.Linear}, dtype=torch.qint8)
    classifier = load_classifier(model, size=32)
    assert classifier.head.linear == "head" and 1e-4 < classifier.head.proof_error < classifier.head.tolerance == 0.1
    assert torch.equal(classifier.head_weight, model.head.weight().dequantize())
    again = load_classifier(classifier, size=64)
    assert type(again.model.head.layer) is type(model.head)
    # The layer takes its range over what it is given: here over one image, whatever lies beside it.
    assert torch.equal(classifier(image())[0], classifier(torch.cat([image()[:1], 9 * image()[1:]]))[0])
    assert not torch.equal(model(image())[0], model(torch.cat([image()[:1], 9 * image()[1:]]))[0])


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning", "ignore::FutureWarning")
def test_a_network_in_integers_shows_its_map():
    class Quantised(nn.Module):
        def __init__(self):
            super().__init__()
            self.quant, self.dequant = torch.ao.quantization.QuantStub(), torch.ao.quantization.DeQuantStub()
            self.conv, self.relu = nn.Conv2d(3, 8, 3, 4, 1), nn.ReLU()
            self.pool, self.head = nn.AdaptiveAvgPool2d(1), nn.Linear(8, 5)

        def forward(self, images):
            maps = self.relu(self.conv(self.quant(images)))
            return self.dequant(self.head(self.pool(maps).flatten(1)))

    model = Quantised().eval()
    model.qconfig = torch.ao.quantization.get_default_qconfig(torch.backends.quantized.engine)
    torch.ao.quantization.prepare(model, inplace=True)
    model(image())
    torch.ao.quantization.convert(model, inplace=True)
    classifier = load_classifier(model, size=32)
    assert (classifier.head.features, classifier.head.linear) == ("relu", "head")
    logits, features = classifier.forward_with_features(image())
    assert features.dtype == torch.float32
    derived = classifier.cams(features).mean((2, 3)) + classifier.head_bias
    assert float((derived - logits).abs().max()) < 0.1 * float(logits.abs().max())
    wrong = replace(classifier.head, features="conv")  # before the ReLU: another map
    other = Classifier(model, classifier.preprocess, name="wrong", num_classes=5, head=wrong)
    logits, features = other.forward_with_features(image())
    derived = other.cams(features).mean((2, 3)) + other.head_bias
    assert float((derived - logits).abs().max()) > 0.3 * float(logits.abs().max())


def test_a_program_of_torch_export_is_explained_once_it_is_unflattened(tmp_path):
    """Its layers are of no class that anybody knows, and have the weights that layers have."""
    model = SmallNetwork().eval()
    batch = torch.export.Dim("batch", min=1)
    program = torch.export.export(model, (image(),), dynamic_shapes=({0: batch},))
    classifier = load_classifier(torch.export.unflatten(program), size=32)
    assert (classifier.head.features, classifier.head.linear) == ("features", "head")
    torch.testing.assert_close(classifier(image(3)), model(image(3)))
    torch.export.save(program, tmp_path / "net.pt2")
    with pytest.raises(XkdError, match=r"net.pt2' is a program of torch.export, .* torch.export.unflatten\(") as error:
        load_classifier(tmp_path / "net.pt2")
    assert "\n" not in str(error.value)


def test_a_module_that_holds_a_session_of_another_engine():
    """It cannot be copied, so it is shared; what needs answers alone holds."""
    onnxruntime = pytest.importorskip("onnxruntime")
    model = SmallNetwork().eval()
    names = {"input_names": ["images"], "output_names": ["logits"]}
    batch = torch.export.Dim("batch", min=1)
    program = torch.onnx.export(model, (image(),), dynamic_shapes=({0: batch},), dynamo=True, verbose=False, **names)
    session = onnxruntime.InferenceSession(program.model_proto.SerializeToString(), providers=["CPUExecutionProvider"])

    class Session(nn.Module):
        def __init__(self):
            super().__init__()
            self.session = session

        def forward(self, images):
            return torch.from_numpy(self.session.run(None, {"images": images.detach().numpy()})[0])

    classifier = load_classifier(Session(), size=32)
    torch.testing.assert_close(classifier(image(3)), model(image(3)))
    assert classifier.private().model.session is session
    found = inspect_classifier(classifier)
    assert {"occlusion", "feature_ablation", "rise"} <= set(found.explainers)
    assert found.refused["saliency"].endswith("; use occlusion or rise")
    occlusion, classes = create_explainer("occlusion"), torch.tensor([0, 1])
    theirs, ours = (occlusion(one, image(), classes) for one in (classifier, load_classifier(model, size=32)))
    torch.testing.assert_close(theirs, ours, rtol=1e-3, atol=1e-4)
