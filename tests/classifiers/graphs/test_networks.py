"""Networks of every kind of head, as ONNX and OpenVINO files: the same logits and maps as in torch."""

import numpy as np
import pytest
import torch

from tests.classifiers.graphs.conftest import SIZES, K
from tests.classifiers.graphs.files import write_openvino
from xkd_eval import create_explainer, load_classifier
from xkd_eval.classifiers import Preprocess
from xkd_eval.classifiers.proof.probes import random_images
from xkd_eval.errors import CamHeadError, XkdError

FORMATS = ("onnx", "xml")


def close(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4 * float(theirs.abs().max()))


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("name", ["kd", "resnet18", "convnext", "squeezenet", "vit"])
def test_logits_and_maps_are_those_of_torch(name, suffix, network, written):
    graph = load_classifier(written(f"{name}.{suffix}"))
    theirs = load_classifier(network(name), size=SIZES[name])
    images = random_images(theirs.preprocess, seed=7, count=3)
    logits, features = graph.forward_with_features(images)
    expected, maps = theirs.forward_with_features(images)
    close(logits, expected)
    close(graph.cams(features), theirs.cams(maps))
    close(graph.cams(features).mean((2, 3)) + graph.head_bias, logits)
    assert graph.preprocess.size == (SIZES[name],) * 2
    assert (graph.num_classes, graph.head.map_size) == (K, theirs.head.map_size)
    assert graph.head.proof_error < 1e-5 and graph.head.tolerance == pytest.approx(1e-4)
    assert (graph.head.linear is None) == (name == "squeezenet")
    assert bool(graph.head.steps) == (name in ("convnext", "vit"))
    assert (graph.model.shown[1].layout == "tokens") == (name == "vit")


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_hidden_layer_in_the_head_is_refused_and_its_map_shown(suffix, network, written):
    graph = load_classifier(written(f"mobilenet.{suffix}"))
    theirs = network("mobilenet")
    images = random_images(graph.preprocess, seed=7)
    with torch.no_grad():
        expected, features = theirs(images), theirs.features(images)
    close(graph(images), expected)
    assert graph.head is None
    assert graph.head_refusal.startswith("hidden layers lie between its last map and its head (")
    seen = []
    private = graph.private()
    private.model.features.register_forward_hook(lambda module, inputs, output: seen.append(output))
    private(images)
    close(seen[0], features)
    maps = create_explainer("occlusion")(graph, images, expected.argmax(1))
    close(maps, create_explainer("occlusion")(load_classifier(theirs, size=64), images, expected.argmax(1)))


def test_half_of_the_weights_bytes_are_read_as_they_are(written, tmp_path):
    graph = load_classifier(write_openvino(written("kd.onnx"), tmp_path / "kd.xml", compressed=True))
    plain = load_classifier(written("kd.xml"))
    assert graph.head.proof_error < 1e-5
    assert 0 < float((graph.head_weight - plain.head_weight).abs().max()) < 1e-3  # rounded to float16


def test_what_a_hook_puts_in_the_maps_place_reaches_the_logits(written, network):
    """As Ablation-CAM does; in a graph without a proven head nobody knows what would come of it."""
    ours, theirs = load_classifier(written("kd.onnx")), load_classifier("embedded/kd")

    def ablated(classifier, path, size=40):
        private = classifier.private()
        module = private.model.get_submodule(path)
        module.register_forward_hook(lambda module, inputs, output: output * torch.linspace(0, 1, output.shape[3]))
        return private(random_images(Preprocess(size=(size, size)), seed=3))

    close(ablated(ours, "features"), ablated(theirs, theirs.head.features))
    with pytest.raises(XkdError, match="does not say how its logits follow from its last map"):
        ablated(load_classifier(written("mobilenet.onnx")), "features", 64)


def test_copies_share_the_session_and_the_digest_is_the_files(written, tmp_path):
    graph = load_classifier(written("kd.onnx"))
    assert graph.private().model._session is graph.model._session
    assert graph.private().digest() == graph.digest() == load_classifier(written("kd.onnx")).digest()
    assert graph.digest() != load_classifier(written("kd.xml")).digest()
    norms = [module for module in load_classifier("embedded/kd").model.modules() if hasattr(module, "running_mean")]
    # Each is folded into its convolution: of a weight and a bias a channel a bias is left.
    assert graph.n_parameters == 19_218 - sum(len(norm.weight) for norm in norms)
    assert f"{graph.n_parameters:,} parameters" in repr(graph)
    again = graph.double().half().train()(random_images(graph.preprocess, seed=3))
    torch.testing.assert_close(again, load_classifier(written("kd.onnx"))(random_images(graph.preprocess, seed=3)))


def test_a_graph_has_no_layers_to_draw_anew(written):
    """Its head is a copy: drawn anew, the maps would change and the answers would not."""
    from xkd_eval.evaluations.randomisation.layers import layers_of

    assert layers_of(load_classifier(written("convnext.onnx")).model) == []


def test_names_and_what_stands_beside(written, tmp_path):
    torch.save({"head.weight": torch.zeros(2)}, tmp_path / "mine.pth")
    assert load_classifier(written("kd.onnx")).name == "kd"
    with pytest.raises(XkdError, match=r"^weights: .* found, and .*kd\.onnx' holds its own; leave them out"):
        load_classifier(written("kd.onnx"), weights=tmp_path / "mine.pth")
    with pytest.raises(XkdError, match=r"^arguments: img_size found"):
        load_classifier(written("kd.onnx"), arguments={"img_size": 3})
    with pytest.raises(XkdError, match=r"^size: 64x64 found, and .*kd\.onnx' takes 40x40 alone; leave it out"):
        load_classifier(written("kd.onnx"), size=64)


def test_bf16_is_refused(written):
    from xkd_eval.engines.eager import prepare

    with pytest.raises(XkdError, match=r"^precision: bf16 found, and kd is run by its own engine"):
        prepare(load_classifier(written("kd.onnx")), torch.device("cpu"), "bf16")


@pytest.mark.parametrize(("suffix", "package"), [("onnx", "onnxruntime"), ("xml", "openvino")])
def test_a_missing_package_is_named_with_its_command(suffix, package, written, monkeypatch):
    path = written(f"kd.{suffix}")
    monkeypatch.setattr("xkd_eval.packages.find_spec", lambda name: None if name == package else 1)
    extra = {"onnx": "onnx", "xml": "openvino"}[suffix]
    with pytest.raises(XkdError, match=rf"needs {package}; install with `pip install 'xkd-eval\[{extra}\]'`$"):
        load_classifier(path)


def test_a_head_that_is_not_found_says_so_when_a_map_is_asked_for(written):
    graph = load_classifier(written("mobilenet.onnx"))
    with pytest.raises(CamHeadError, match="hidden layers lie between"):
        graph.forward_with_features(torch.from_numpy(np.zeros((1, 3, 64, 64), np.float32)))
