"""Graphs written operation by operation, as exporters write them: heads and norms whose numbers are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from onnx import TensorProto

from tests.classifiers.graphs.files import numbers, write_graph
from xkd_eval import load_classifier
from xkd_eval.classifiers.graphs.open import from_graph
from xkd_eval.classifiers.proof.probes import random_images
from xkd_eval.errors import XkdError
from xkd_eval.explainers.holding import alternatives

KERNEL, WEIGHT, BIAS = numbers(6, 3, 3, 3), numbers(4, 6, seed=1), numbers(4, seed=2)
MAPS = [("Conv", ["x", "k"], ["c"], {}), ("Relu", ["c"], ["maps"], {})]
POOL = [*MAPS, ("GlobalAveragePool", ["maps"], ["pooled"], {}), ("Flatten", ["pooled"], ["v"], {})]
GEMM = ("Gemm", ["v", "w", "b"], ["y"], {"transB": 1})
INNER = ("Gemm", ["v", "w", "b"], ["l"], {"transB": 1})
ALL = {"k": KERNEL, "w": WEIGHT, "b": BIAS}

CENTRE = [
    ("ReduceMean", ["v"], ["m"], {"axes": [1]}),
    ("Sub", ["v", "m"], ["off"], {}),
    ("Mul", ["off", "off"], ["squares"], {}),
    ("ReduceMean", ["squares"], ["variance"], {"axes": [1]}),
    ("Add", ["variance", "eps"], ["shifted"], {}),
    ("Sqrt", ["shifted"], ["deviation"], {}),
    ("Div", ["off", "deviation"], ["normal"], {}),
    ("Mul", ["normal", "gamma"], ["scaled"], {}),
    ("Add", ["scaled", "beta"], ["u"], {}),
]

HEADS = {
    "gemm": ([*POOL, GEMM], {}, (WEIGHT, BIAS)),
    "gemm with alpha and beta": (
        [*POOL, ("Gemm", ["v", "t", "b"], ["y"], {"alpha": 0.5, "beta": 2.0})],
        {"t": WEIGHT.T},
        (0.5 * WEIGHT, 2 * BIAS),
    ),
    "matmul and add": (
        [*POOL, ("MatMul", ["v", "t"], ["l"], {}), ("Add", ["b", "l"], ["y"], {})],
        {"t": WEIGHT.T},
        (WEIGHT, BIAS),
    ),
    "matmul of rank three": (
        [
            *POOL,
            ("Unsqueeze", ["v", "one"], ["row"], {}),
            ("MatMul", ["row", "t"], ["l"], {}),
            ("Squeeze", ["l", "one"], ["y"], {}),
        ],
        {"t": WEIGHT.T[None], "one": np.array([1])},
        (WEIGHT, 0 * BIAS),
    ),
    "1x1 convolution": (
        [*POOL[:-1], ("Conv", ["pooled", "kernel", "b"], ["l"], {}), ("Flatten", ["l"], ["y"], {})],
        {"kernel": WEIGHT[:, :, None, None]},
        (WEIGHT, BIAS),
    ),
    "a temperature, and classes shifted": (
        [
            *POOL,
            ("Gemm", ["v", "w", "b"], ["l"], {"transB": 1}),
            ("Div", ["l", "two"], ["h"], {}),
            ("Sub", ["h", "b"], ["y"], {}),
        ],
        {"two": np.float32(2)},
        (WEIGHT / 2, -BIAS / 2),
    ),
    "a batch norm between pool and head": (
        [
            *POOL,
            ("BatchNormalization", ["v", "gamma", "beta", "mean", "variance"], ["n"], {"epsilon": 0.0}),
            ("Gemm", ["n", "w", "b"], ["y"], {"transB": 1}),
        ],
        {
            "gamma": np.arange(1, 7, dtype=np.float32),
            "beta": np.full(6, 2, np.float32),
            "mean": np.full(6, 0.5, np.float32),
            "variance": np.full(6, 4, np.float32),
        },
        (WEIGHT * np.arange(1, 7) / 2, BIAS + WEIGHT @ (2 - 0.5 * np.arange(1, 7) / 2)),
    ),
    "weights as integers": (
        [
            *POOL,
            ("DequantizeLinear", ["whole", "scale", "zero"], ["t"], {"axis": 0}),
            ("Transpose", ["t"], ["wt"], {"perm": [1, 0]}),
            ("MatMul", ["v", "wt"], ["y"], {}),
        ],
        {
            "whole": np.arange(-12, 12, dtype=np.int8).reshape(4, 6),
            "scale": np.array([0.5, 1, 2, 4], np.float32),
            "zero": np.array([0, 0, 1, 1], np.int8),
        },
        (
            np.array([[0.5], [1], [2], [4]]) * (np.arange(-12, 12).reshape(4, 6) - np.array([[0], [0], [1], [1]])),
            0 * BIAS,
        ),
    ),
    "the mean over the places of (N, H, W, C)": (
        [
            *MAPS,
            ("Transpose", ["maps"], ["last"], {"perm": [0, 2, 3, 1]}),
            ("Mul", ["last", "last"], ["squared"], {}),
            ("ReduceMean", ["squared"], ["v"], {"axes": [1, 2], "keepdims": 0}),
            GEMM,
        ],
        {},
        (WEIGHT, BIAS),
    ),
    "a sum divided by the number of places": (
        [
            *MAPS,
            ("ReduceSum", ["maps", "axes"], ["sum"], {"keepdims": 0}),
            ("Mul", ["sum", "share"], ["v"], {}),
            GEMM,
        ],
        {"axes": np.array([2, 3]), "share": np.float32(1 / 36)},
        (WEIGHT, BIAS),
    ),
    "an average pool over the whole map": (
        [*MAPS, ("AveragePool", ["maps"], ["pooled"], {"kernel_shape": [6, 6]}), POOL[-1], GEMM],
        {},
        (WEIGHT, BIAS),
    ),
}


@pytest.mark.parametrize("what", HEADS)
def test_heads(what, tmp_path):
    nodes, stored, (weight, bias) = HEADS[what]
    classifier = load_classifier(write_graph(tmp_path / "net.onnx", nodes, ALL | stored))
    assert classifier.head is not None, classifier.head_refusal
    images = random_images(classifier.preprocess, seed=3)
    logits, features = classifier.forward_with_features(images)
    torch.testing.assert_close(classifier.head_bias, torch.from_numpy(bias).float())
    torch.testing.assert_close(classifier.head_weight, torch.from_numpy(weight).float())
    torch.testing.assert_close(classifier.cams(features).mean((2, 3)) + classifier.head_bias, logits)
    maps = torch.relu(torch.conv2d(images, torch.from_numpy(KERNEL)))
    torch.testing.assert_close(features, maps**2 if "N, H, W, C" in what else maps, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("form", ["one operation", "nine operations"])
def test_a_layer_norm_between_pool_and_head(form, tmp_path):
    gamma, beta = numbers(6, seed=3), numbers(6, seed=4)
    one = [("LayerNormalization", ["v", "gamma", "beta"], ["u"], {"epsilon": 0.25})]
    nodes = [*POOL, *(one if form == "one operation" else CENTRE), ("Gemm", ["u", "w", "b"], ["y"], {"transB": 1})]
    stored = {"gamma": gamma, "beta": beta, "eps": np.float32(0.25)}
    classifier = load_classifier(write_graph(tmp_path / "net.onnx", nodes, ALL | stored))
    assert [step.path for step in classifier.head.steps] == ["norm"] and classifier.model.norm.eps == 0.25
    images = random_images(classifier.preprocess, seed=3)
    logits, features = classifier.forward_with_features(images)
    torch.testing.assert_close(classifier.cams(features).mean((2, 3)) + classifier.head_bias, logits)
    pooled = torch.relu(torch.conv2d(images, torch.from_numpy(KERNEL))).mean((2, 3))
    norm = torch.nn.functional.layer_norm(pooled, (6,), torch.from_numpy(gamma), torch.from_numpy(beta), 0.25)
    torch.testing.assert_close(norm @ torch.from_numpy(WEIGHT).T + torch.from_numpy(BIAS), logits)


@pytest.mark.parametrize("kind", ["Softmax", "Sigmoid", "LogSoftmax"])
def test_what_goes_into_a_last_softmax_are_the_logits(kind, tmp_path):
    nodes = [
        *POOL,
        ("Gemm", ["v", "w", "b"], ["l"], {"transB": 1}),
        (kind, ["l"], ["p"], {}),
        ("Identity", ["p"], ["y"], {}),
    ]
    classifier = load_classifier(write_graph(tmp_path / "net.onnx", nodes, ALL))
    plain = load_classifier(write_graph(tmp_path / "plain.onnx", [*POOL, GEMM], ALL))
    images = random_images(classifier.preprocess, seed=3)
    assert torch.equal(classifier(images), plain(images))
    assert classifier.model.notes == (f"its {kind} is left out: what goes into it are the logits",)
    assert plain.model.notes == ()
    from xkd_eval.explainers.inspection import inspect_classifier

    assert inspect_classifier(classifier).notes == classifier.model.notes


REFUSED = {
    "max pooling": (
        [*MAPS, ("GlobalMaxPool", ["maps"], ["pooled"], {}), POOL[-1], GEMM],
        "it pools the maximum, not the average",
    ),
    "a flattened map": (
        [*MAPS, ("Flatten", ["maps"], ["v"], {}), ("MatMul", ["v", "long"], ["y"], {})],
        "its head reads the map flattened, with weights of its own for every position",
    ),
    "a hidden layer": (
        [
            *POOL,
            ("MatMul", ["v", "square"], ["hidden"], {}),
            ("Tanh", ["hidden"], ["u"], {}),
            ("Gemm", ["u", "w", "b"], ["y"], {"transB": 1}),
        ],
        r"hidden layers lie between its last map and its head \(hidden\)",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_heads_without_a_map_are_refused_with_the_reason(what, tmp_path):
    nodes, reason = REFUSED[what]
    stored = {"long": numbers(216, 4), "square": numbers(6, 6)}
    classifier = load_classifier(write_graph(tmp_path / "net.onnx", nodes, ALL | stored))
    assert classifier.head is None
    with pytest.raises(XkdError, match=reason):
        classifier.forward_with_features(torch.zeros(1, 3, 8, 8))
    assert alternatives(classifier) == "eigencam, occlusion or rise"
    assert classifier.model.shown == ("maps", ("NCHW", 0))


def test_logits_that_hardly_depend_on_the_image_prove_no_map(tmp_path):
    faint = ("Mul", ["maps", "share"], ["faint"], {})
    nodes = [*MAPS, faint, ("GlobalAveragePool", ["faint"], ["pooled"], {}), POOL[-1], GEMM]
    classifier = load_classifier(write_graph(tmp_path / "net.onnx", nodes, ALL | {"share": np.float32(1e-9)}))
    assert classifier.head_refusal.startswith("its logits hardly depend on the image (was it trained?)")


def test_a_transformer_has_no_last_map(tmp_path):
    """Attention's (B, heads, N, N) has four axes, and none of them is a place."""
    nodes = [
        ("Conv", ["x", "patch"], ["c"], {"strides": [2, 2]}),
        ("Reshape", ["c", "heads"], ["q"], {}),
        ("Transpose", ["q"], ["qt"], {"perm": [0, 1, 3, 2]}),
        ("MatMul", ["qt", "q"], ["attention"], {}),
        ("Softmax", ["attention"], ["a"], {"axis": 2}),
        ("MatMul", ["q", "a"], ["mixed"], {}),
        ("Reshape", ["mixed", "flat"], ["tokens"], {}),
        ("ReduceMean", ["tokens"], ["v"], {"axes": [2], "keepdims": 0}),
        GEMM,
    ]
    stored = {"patch": numbers(6, 3, 2, 2), "heads": np.array([0, 2, 3, 16]), "flat": np.array([0, 6, 16])}
    classifier = load_classifier(write_graph(tmp_path / "net.onnx", nodes, ALL | stored))
    assert classifier.head_refusal == "a token model, or one without any spatial map"
    assert alternatives(classifier) == "occlusion or rise"


@pytest.mark.parametrize("batch", [1, 4])
def test_graphs_of_a_fixed_batch_are_run_in_pieces_of_it(batch, tmp_path):
    free = load_classifier(write_graph(tmp_path / "free.onnx", [*POOL, GEMM], ALL))
    fixed = load_classifier(write_graph(tmp_path / "fixed.onnx", [*POOL, GEMM], ALL, given=(batch, 3, 8, 8)))
    images = random_images(free.preprocess, seed=3, count=7)
    for ours, theirs in zip(fixed.forward_with_features(images), free.forward_with_features(images), strict=True):
        torch.testing.assert_close(ours, theirs)
    assert fixed.head is not None and len(fixed(images[:1])) == 1


def test_a_free_batch_that_is_none(tmp_path):
    """Exported for one image, and said to take any number: two images' logits come out as those of one."""
    nodes = [*POOL, ("Gemm", ["v", "w", "b"], ["l"], {"transB": 1}), ("Reshape", ["l", "one"], ["y"], {})]
    path = write_graph(tmp_path / "net.onnx", nodes, ALL | {"one": np.array([1, -1])})
    with pytest.raises(
        XkdError, match=r"answers 2 images with \(1, 8\); export it for any number of images, or for one"
    ):
        load_classifier(path)


def test_images_of_the_last_axis_and_of_half_precision(tmp_path):
    nodes = [("Transpose", ["x"], ["t"], {"perm": [0, 3, 1, 2]}), ("Conv", ["t", "k"], ["c"], {}), *POOL[1:], GEMM]
    last = load_classifier(write_graph(tmp_path / "last.onnx", nodes, ALL, given=("n", 8, 9, 3)))
    assert last.preprocess.size == (8, 9) and last.head.map_size == (6, 7)
    stored = {name: values.astype(np.float16) for name, values in ALL.items()}
    path = write_graph(tmp_path / "half.onnx", [*POOL, GEMM], stored, kind=TensorProto.FLOAT16)
    half, plain = load_classifier(path), load_classifier(write_graph(tmp_path / "plain.onnx", [*POOL, GEMM], ALL))
    assert 1e-4 < half.head.tolerance < 2e-2
    images = random_images(half.preprocess, seed=3)
    assert half(images).dtype == torch.float32
    torch.testing.assert_close(half(images), plain(images), rtol=1e-2, atol=2e-2)


def test_a_free_size_is_224_or_as_the_user_says(tmp_path):
    path = write_graph(tmp_path / "free.onnx", [*POOL, GEMM], ALL, given=("n", 3, "h", "w"))
    assert load_classifier(path).head.map_size == (222, 222)
    assert load_classifier(path, size=(10, 12)).head.map_size == (8, 10)


@pytest.mark.parametrize("channels", [1, 4])
def test_images_of_other_channels(channels, tmp_path):
    stored = ALL | {"k": numbers(6, channels, 3, 3)}
    path = write_graph(tmp_path / "net.onnx", [*POOL, GEMM], stored, given=("n", channels, 8, 8))
    classifier = load_classifier(path)
    assert classifier.preprocess.channels == channels and classifier.head is not None
    assert classifier(torch.zeros(2, channels, 8, 8)).shape == (2, 4)


def test_one_logit_makes_two_classes(tmp_path):
    stored = ALL | {"w": WEIGHT[:1], "b": BIAS[:1]}
    classifier = load_classifier(write_graph(tmp_path / "one.onnx", [*POOL, GEMM], stored))
    assert classifier.num_classes == 2 and classifier.head.linear == "network.head"
    logits, features = classifier.forward_with_features(random_images(classifier.preprocess, seed=3))
    torch.testing.assert_close(logits[:, 0], -logits[:, 1])
    torch.testing.assert_close(classifier.cams(features).mean((2, 3)) + classifier.head_bias, logits)


def test_of_several_outputs_one_is_chosen(tmp_path):
    nodes = [*POOL, GEMM, ("Identity", ["v"], ["embedding"], {})]
    path = write_graph(tmp_path / "two.onnx", nodes, ALL, outputs=("embedding", "y"))
    with pytest.raises(
        XkdError,
        match=r"has 2 outputs \('embedding', 'y'\); say which holds the logits, as MODEL,output=embedding does",
    ):
        load_classifier(path)
    images = torch.zeros(1, 3, 8, 8)
    for wanted in ("y", 1, "1"):
        assert from_graph(path, wanted).module(images).shape == (1, 4)
    assert from_graph(path, "embedding").module(images).shape == (1, 6)
    with pytest.raises(XkdError, match=r"^output: 'z' found, and .*two\.onnx' has 'embedding', 'y'; give one of them"):
        from_graph(path, "z")
    nodes = [*POOL, ("Gemm", ["v", "w", "b"], ["logits"], {"transB": 1}), ("Identity", ["v"], ["embedding"], {})]
    named = write_graph(tmp_path / "named.onnx", nodes, ALL, outputs=("embedding", "logits"))
    assert load_classifier(named).num_classes == 4
