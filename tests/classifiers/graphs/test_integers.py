"""Graphs in 8-bit integers: proven to within what their steps allow, which wrong maps and heads miss by far."""

from dataclasses import replace

import numpy as np
import openvino
import pytest
import torch
from openvino import opset13 as ops

from tests.classifiers.graphs.conftest import SIZES
from tests.classifiers.graphs.files import numbers, write_graph
from xkd_eval import load_classifier
from xkd_eval.classifiers import Preprocess
from xkd_eval.classifiers.graphs.affine import read_heads
from xkd_eval.classifiers.graphs.network import GraphNetwork
from xkd_eval.classifiers.graphs.onnx_file import read_onnx
from xkd_eval.classifiers.graphs.proof import proof_images, prove
from xkd_eval.classifiers.proof.places import Reading
from xkd_eval.classifiers.proof.probes import random_images
from xkd_eval.engines.eager import prepare

ROUNDED = ("kd.QDQ.onnx", "kd.QOperator.onnx", "kd.dynamic.onnx", "kd.QDQ.xml", "convnext.QDQ.onnx")


@pytest.mark.parametrize("name", ROUNDED)
def test_the_cam_is_proven_as_precisely_as_integers_are(name, written, network):
    graph = load_classifier(written(name))
    plain = name.partition(".")[0]
    theirs = load_classifier(network(plain), size=SIZES[plain])
    assert 1e-4 < graph.head.proof_error < graph.head.tolerance < 0.11
    assert graph.head.map_size == theirs.head.map_size
    images = random_images(theirs.preprocess, seed=7, count=3)
    logits, features = graph.forward_with_features(images)
    derived = graph.cams(features).mean((2, 3)) + graph.head_bias
    largest = float((logits - graph.head_bias).abs().max())
    assert float((derived - logits).abs().max()) < 2 * graph.head.tolerance * largest
    # The maps of a rounded network are those of the network, but for what all of its roundings make of them: 0.949
    # where OpenVINO has no instructions for integers (AVX2 alone).
    ours, maps = graph.cams(features).flatten(), theirs.cams(theirs.forward_with_features(images).features).flatten()
    assert float(torch.corrcoef(torch.stack([ours, maps]))[0, 1]) > 0.94


@pytest.mark.parametrize("name", ["kd.QDQ.onnx", "kd.QOperator.onnx", "kd.dynamic.onnx", "kd.QDQ.xml"])
def test_wrong_maps_and_heads_miss_it_by_far(name, written):
    graph = load_classifier(written(name))
    network, preprocess, head = graph.model, graph.preprocess, graph.head
    found = read_heads(network.graph)[0]
    proof = prove(network, found, head, preprocess)
    assert proof.holds and (proof.error, proof.tolerance) == (head.proof_error, head.tolerance)
    wrong = {
        "channels in another order": replace(found, weight=np.roll(found.weight, 1, axis=1)),
        "classes in another order": replace(found, weight=np.roll(found.weight, 1, axis=0)),
        "a tenth larger": replace(found, weight=1.1 * found.weight),
        "another bias": replace(found, bias=found.bias + 0.3 * np.abs(found.weight).sum(1).mean()),
    }
    for what, changed in wrong.items():
        network.take_head(changed)
        missed = prove(network, changed, head, preprocess)
        assert not missed.holds and missed.error > 3 * missed.tolerance, (what, missed)


def test_a_map_that_is_not_yet_rectified_misses_it(tmp_path):
    """y = mean(relu(conv(x))) @ w, rounded: the convolution's own output is a map of as many channels."""
    path = rounded_by_hand(tmp_path)
    preprocess = Preprocess(size=(8, 8))
    network = GraphNetwork(read_onnx(path))
    found = read_heads(network.graph)[0]
    head = load_classifier(path).head
    network.take_head(found)
    network.show_map("rectified", Reading("NCHW"))
    assert prove(network, found, head, preprocess).holds
    network.show_map("c", Reading("NCHW"))
    missed = prove(network, found, head, preprocess)
    assert not missed.holds and missed.error > 5 * missed.tolerance


def rounded_by_hand(folder, step=0.02, lifted=0.0):
    """Steps of `step` for the pooled vector, of 0.5 for the logits, and nothing else rounded; one channel is lifted."""
    stored = {
        "k": 0.3 * numbers(6, 3, 3, 3),
        "o": np.array([lifted, 0, 0, 0, 0, 0], np.float32),
        "w": numbers(6, 4, seed=1),
        "s": np.float32(step),
        "z": np.uint8(0),
        "t": np.float32(0.5),
        "m": np.uint8(128),
    }
    nodes = [
        ("Conv", ["x", "k", "o"], ["c"], {}),
        ("Relu", ["c"], ["rectified"], {}),
        ("GlobalAveragePool", ["rectified"], ["p"], {}),
        ("Flatten", ["p"], ["v"], {}),
        ("QuantizeLinear", ["v", "s", "z"], ["q"], {}),
        ("DequantizeLinear", ["q", "s", "z"], ["d"], {}),
        ("MatMul", ["d", "w"], ["l"], {}),
        ("QuantizeLinear", ["l", "t", "m"], ["r"], {}),
        ("DequantizeLinear", ["r", "t", "m"], ["y"], {}),
    ]
    return write_graph(folder / "hand.onnx", nodes, {name: np.asarray(values) for name, values in stored.items()})


def test_the_tolerance_is_six_deviations_of_the_channels_roundings_and_half_a_step_of_the_logits(tmp_path):
    classifier = load_classifier(rounded_by_hand(tmp_path))
    weight = classifier.head_weight
    by_channels = 6 * (0.02 / 2) * ((weight**2).sum(1) / 3).sqrt()
    batches = torch.cat(proof_images(classifier.preprocess))
    assert float(classifier.forward_with_features(batches).features.mean((2, 3)).max()) < 255 * 0.02  # nothing is cut
    largest = float(classifier(batches).abs().max())
    expected = float((by_channels + 0.5 / 2).max()) / largest + 1e-4
    assert classifier.head.tolerance == pytest.approx(expected, rel=1e-5)


def test_a_channel_that_is_cut_at_the_end_of_its_range_costs_what_is_allowed_for_it(tmp_path, monkeypatch):
    """The range ends at 5.1, and one channel of six is above it for all images: logits lose some of it."""
    path = rounded_by_hand(tmp_path, lifted=5.5)
    head = load_classifier(path).head
    assert 0.02 < head.proof_error < head.tolerance < 0.1
    monkeypatch.setattr("xkd_eval.classifiers.graphs.proof._MOST_CUT", (0.0,))
    assert load_classifier(path).head is None
    monkeypatch.undo()
    assert load_classifier(rounded_by_hand(tmp_path, lifted=9)).head is None  # most of what the channel says is lost


def test_integers_so_coarse_that_they_prove_nothing(tmp_path):
    classifier = load_classifier(rounded_by_hand(tmp_path, step=1.0))
    assert classifier.head is None
    assert "rounding alone may move its logits by" in classifier.head_refusal


@pytest.mark.parametrize("name", ["kd.dynamic.onnx", "kd.QDQ.onnx"])
def test_an_answer_depends_on_its_image_alone(name, written):
    """Ranges that a graph takes at run time are those of one image, whatever stands beside it."""
    graph = load_classifier(written(name))
    images = random_images(graph.preprocess, seed=5, count=3)
    beside = torch.cat([images[:1], 4 * images[1:]])
    for first, second in zip(graph.forward_with_features(images), graph.forward_with_features(beside), strict=True):
        assert torch.equal(first[0], second[0])
        assert not torch.equal(first[1], second[1])


def test_ranges_in_several_operations_are_those_of_one_image_too(written):
    """As OpenVINO converts them; its head is not read, but it is a classifier."""
    graph = load_classifier(written("kd.dynamic.xml"))
    images = random_images(graph.preprocess, seed=5, count=3)
    assert torch.equal(graph(images)[0], graph(torch.cat([images[:1], 4 * images[1:]]))[0])
    assert prepare(graph, torch.device("cpu")).head is None
    assert graph.head_refusal == "no product with a constant weight puts out its logits"


def openvino_graph(tmp_path, make):
    """x (?, 3, 8, 8) -> 3x3 convolution -> ReLU -> mean -> what `make` makes of the vector (?, 6)."""
    given = ops.parameter([-1, 3, 8, 8], np.float32, name="x")
    ones, none = [1, 1], [0, 0]
    maps = ops.relu(ops.convolution(given, ops.constant(numbers(6, 3, 3, 3)), ones, none, none, ones))
    vector = ops.reduce_mean(maps, ops.constant(np.array([2, 3])), keep_dims=False)
    openvino.save_model(openvino.Model([make(vector)], [given]), tmp_path / "made.xml", compress_to_fp16=False)
    return load_classifier(tmp_path / "made.xml", size=8)


def test_openvinos_compressed_weights(tmp_path):
    """(int8 - zero point) * scale, a scale a class: the head is what they stand for, and nothing is rounded."""
    whole = np.arange(-12, 12, dtype=np.int8).reshape(4, 6)
    scale, zero = np.array([[0.5], [0.25], [1], [2]], np.float32), np.float32(3)

    def head(vector):
        shifted = ops.subtract(ops.convert(ops.constant(whole), np.float32), ops.constant(zero))
        return ops.matmul(vector, ops.multiply(shifted, ops.constant(scale)), False, True)

    classifier = openvino_graph(tmp_path, head)
    torch.testing.assert_close(classifier.head_weight, torch.from_numpy((whole.astype(np.float32) - 3) * scale))
    assert classifier.head.tolerance == pytest.approx(1e-4) and classifier.head.proof_error < 1e-5


def test_openvinos_fake_quantize(tmp_path):
    """256 levels from 0 to 5.1, a step of 0.02, round the vector."""
    weight = numbers(4, 6, seed=1)
    bounds = [ops.constant(np.float32(bound)) for bound in (0, 5.1, 0, 5.1)]
    head = lambda vector: ops.matmul(ops.fake_quantize(vector, *bounds, 256), ops.constant(weight), False, True)  # noqa: E731
    classifier = openvino_graph(tmp_path, head)
    torch.testing.assert_close(classifier.head_weight, torch.from_numpy(weight))
    assert 1e-4 < classifier.head.proof_error < classifier.head.tolerance < 0.1
