"""A file with a graph in it -> a network, as `load_classifier` takes it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xkd_eval.classifiers.graphs.description import read_description
from xkd_eval.classifiers.graphs.network import GraphNetwork
from xkd_eval.classifiers.graphs.onnx_file import read_onnx
from xkd_eval.classifiers.graphs.openvino_file import read_openvino
from xkd_eval.classifiers.input_source import InputSource
from xkd_eval.classifiers.sources import Network, refuse_arguments
from xkd_eval.classifiers.weights.loading import Weights
from xkd_eval.errors import XkdError

SUFFIXES = (".onnx", ".xml")


def from_graph(path: Path, output: str | int | None = None) -> Network:
    """A graph with what its file says about it.

    Args:
        path: of an .onnx or .xml file.
        output: name or place of the output that holds the logits, where there are several.

    Raises:
        XkdError: see `read_onnx` and `read_openvino`; or metadata of this project that are not as it writes them.
    """
    graph = (read_onnx if path.suffix == ".onnx" else read_openvino)(path, output)
    described = read_description(graph.texts, graph.given, graph.where)
    network = GraphNetwork(graph.before_softmax())
    source = InputSource("the file's metadata") if described.is_told else InputSource(is_assumed=True)
    return Network(
        network,
        described.preprocess,
        described.class_names,
        described.wordnet_ids,
        network.notes,
        source,
    )


def refuse_beside(model: str, weights: Weights | None, arguments: Mapping[str, Any]) -> None:
    """Raise XkdError where there are weights or arguments beside a file that has its own of both."""
    if weights is not None:
        raise XkdError(f"weights: {weights.path!r} found, and {model!r} holds its own; leave them out")
    refuse_arguments(repr(model), arguments)
