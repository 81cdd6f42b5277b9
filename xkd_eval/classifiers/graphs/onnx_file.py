"""ONNX files: read without what lies outside of their folder, and run by ONNX Runtime on the CPU."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from xkd_eval.classifiers.graphs.description import named_logits
from xkd_eval.classifiers.graphs.engine_words import in_plain_words
from xkd_eval.classifiers.graphs.graph import Arrays, Graph, ImageInput, Operation, chosen_output, image_input
from xkd_eval.classifiers.graphs.quantised import quantisation
from xkd_eval.errors import XkdError
from xkd_eval.foreign import open_file, read_bytes, reading, short
from xkd_eval.packages import require

_LARGEST = 2**31 - 1  # bytes, which is where protobuf ends
_DAMAGED = "is no ONNX file, or a truncated or damaged one"
_EXTERNAL = 1  # TensorProto.EXTERNAL
_FLOATS = (1, 10, 11)  # float32, float16, float64
_WEIGHT_TYPES = (*_FLOATS, 2, 3, 6, 16, 21, 22)  # uint8, int8, int32, bfloat16, uint4, int4
_PLAIN = (1, 2, 3, 6, 7, 8)  # a number, a text, several of one kind
_GRAPHS = (5, 10)


_SETTINGS = {
    # Threads that wait busily take the cores from those of torch.
    "session.intra_op.allow_spinning": "0",
    # Where weights alone are integers, what they are multiplied with stays as it is: left to itself it is rounded, too.
    "session.qdq_matmulnbits_accuracy_level": "1",
}


def read_onnx(path: Path, output: str | int | None = None) -> OnnxGraph:
    """An ONNX file as a graph.

    Args:
        path: of the file; weights that it keeps in other files lie in its folder or below.
        output: name or place of the output that holds the logits, where there are several.

    Raises:
        XkdError: a missing package; missing, cut, damaged, no ONNX file; weights that are missing or elsewhere; what
            ONNX Runtime does not run; an input or outputs that are not a classifier's.
    """
    where = f"model: {str(path)!r}"
    require(where, "onnx", "onnx", "onnxruntime")
    content = read_bytes(path, "model", _LARGEST)
    if content.startswith(b"version https://git-lfs"):
        raise XkdError(f"{where} is a Git LFS pointer, not a model; fetch the file with `git lfs pull`")
    return onnx_graph(content, path.parent, where, output)


def onnx_graph(content: bytes, folder: Path, where: str, output: str | int | None = None) -> OnnxGraph:
    """The bytes of an ONNX file as a graph.

    Args:
        content: of the file.
        folder: that it is in.
        where: begins messages: the argument and the file.
        output: see `read_onnx`.

    Raises:
        XkdError: as `read_onnx`.
    """
    with reading(f"{where} {_DAMAGED}", "copy or export it again"):
        import onnx

        if not content:
            raise ValueError("empty")
        model = onnx.load_model_from_string(content)
        if not model.graph.node:
            raise ValueError("it holds no graph")
    digest = _with_external_data(model, folder, content, where)
    with reading(f"{where} is no valid ONNX model", "export it again"):
        from onnx.inliner import inline_local_functions

        model = inline_local_functions(model) if model.functions else model
        return OnnxGraph(model, where, digest, output)


class OnnxGraph(Graph):
    """See Graph.

    Attributes:
        model: as onnx holds it; nobody writes to it.
    """

    engine = "onnxruntime"

    def __init__(self, model: Any, where: str, digest: str, output: str | int | None) -> None:
        from onnx.numpy_helper import to_array

        self.where, self.digest = where, digest
        self.texts = {entry.key: entry.value for entry in model.metadata_props}
        self.model = model
        self._stored = {tensor.name: tensor for tensor in model.graph.initializer}
        self.sizes = {
            name: int(np.prod(tensor.dims))
            for name, tensor in self._stored.items()
            if tensor.data_type in _WEIGHT_TYPES and tensor.dims
        }
        for name, tensor in self._stored.items():
            if tensor.data_type in _FLOATS and np.isnan(to_array(tensor)).any():
                raise XkdError(f"{where} has NaN in {name!r}; its training diverged, or the file is damaged")
        self.given = _given([given for given in model.graph.input if given.name not in self._stored], where)
        self.index([_operation(node) for node in model.graph.node])
        names = [given.name for given in model.graph.output]
        self.outputs = {name: name for name in names}
        self.logits = chosen_output(names, output if output is not None else named_logits(self.texts, names), where)

    def run(self, names: Sequence[str]) -> Callable[[np.ndarray], Arrays]:
        """See Graph.run. Of tensors that hold integers the numbers are given that they stand for."""
        session = self._opened(self._exposing(names))

        def run(images: np.ndarray) -> Arrays:
            unfit = f"{self.where} does not run on {images.shape}"
            with reading(unfit, "expected a classifier of such images"), in_plain_words():
                return list(session.run(None, {self.given.name: images}))

        return run

    def constants(self, names: Sequence[str]) -> Arrays:
        """See Graph.constants."""
        from onnx.numpy_helper import to_array

        if all(name in self._stored for name in names):
            return [to_array(self._stored[name]) for name in names]
        model = self._exposing(names)
        wanted = {shown.name for shown in model.graph.output}
        kept = []
        for node in reversed(model.graph.node):
            if not wanted.isdisjoint(node.output):
                kept.append(node)
                wanted.update(node.input)
        stored = [tensor for tensor in model.graph.initializer if tensor.name in wanted]
        for field, values in (("node", kept[::-1]), ("initializer", stored), ("input", [])):
            del getattr(model.graph, field)[:]
            getattr(model.graph, field).extend(values)
        with reading(f"{self.where} has weights that cannot be computed", "export it again"), in_plain_words():
            return list(self._opened(model).run(None, {}))

    def _exposing(self, names: Sequence[str]) -> Any:
        """A copy of the model whose outputs are these tensors, as floats."""
        model = type(self.model)()
        model.CopyFrom(self.model)
        with reading(f"{self.where} is no valid ONNX model", "export it again"):  # a name may be no text
            self._expose(model.graph, names)
        return model

    def _expose(self, graph: Any, names: Sequence[str]) -> None:
        from onnx import helper

        del graph.output[:]
        for place, name in enumerate(names):
            scale = quantisation(self, name)
            shown = f"xkd_output_{place}"
            inputs = [name] if scale is None else [name, *(part for part in (scale.scale, scale.zero_point) if part)]
            kind = "Identity" if scale is None else "DequantizeLinear"
            graph.node.append(helper.make_node(kind, inputs, [shown]))
            graph.output.append(helper.make_empty_tensor_value_info(shown))

    def _opened(self, model: Any) -> Any:
        remedy = "export it again, for this release of onnxruntime"
        with reading(f"{self.where} is not run by ONNX Runtime", remedy), in_plain_words():
            return session_of(model)


def session_of(model: Any) -> Any:
    """An onnxruntime.InferenceSession of an onnx.ModelProto, on the CPU, with the threads that torch has."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # what it has to say is raised
    for name, value in _SETTINGS.items():
        options.add_session_config_entry(name, value)
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"], enable_fallback=0
    )


def _given(inputs: Sequence[Any], where: str) -> ImageInput:
    from onnx.helper import tensor_dtype_to_np_dtype

    if len(inputs) != 1:
        named = ", ".join(repr(given.name) for given in inputs[:5])
        raise XkdError(f"{where} has {len(inputs)} inputs ({named}); expected one, of normalised images: export it so")
    tensor = inputs[0].type.tensor_type
    shape = [axis.dim_value if axis.HasField("dim_value") else None for axis in tensor.shape.dim]
    return image_input(inputs[0].name, shape, str(tensor_dtype_to_np_dtype(tensor.elem_type)), where)


def _operation(node: Any) -> Operation:
    """A node; what its branches read of what surrounds them counts as its inputs."""
    from onnx.helper import get_attribute_value

    plain, captured = {}, []
    for attribute in node.attribute:
        if attribute.type in _GRAPHS:
            graphs = [attribute.g, *attribute.graphs]
            captured += [name for graph in graphs for inner in graph.node for name in _operation(inner).inputs]
        elif attribute.type in _PLAIN:
            plain[attribute.name] = get_attribute_value(attribute)
    return Operation(node.op_type, (*node.input, *captured), tuple(node.output), plain)


def _with_external_data(model: Any, folder: Path, content: bytes, where: str) -> str:
    """Put in what the model keeps in other files; returns the digest of all."""
    sha = hashlib.sha256(content)
    total = len(content)
    for tensor in _tensors(model):
        if tensor.data_location != _EXTERNAL:
            continue
        facts = {entry.key: entry.value for entry in tensor.external_data}
        location = facts.get("location", "")
        place = _inside(folder, location, where)
        unreadable = f"{where} keeps weights in {short(location)}, which cannot be read"
        with reading(unreadable, "put it beside the model"), open_file(place) as file:
            size, start = os.fstat(file.fileno()).st_size, int(facts.get("offset", 0))
            length = int(facts.get("length", max(size - start, 0)))
            total += length
            if min(start, length) < 0 or start + length > size or total > _LARGEST:
                raise ValueError(f"{length:,} bytes from {start:,} of {size:,}")
            file.seek(start)
            tensor.raw_data = file.read(length)
        sha.update(tensor.raw_data)
        tensor.data_location = 0
        del tensor.external_data[:]
    return sha.hexdigest()


def _inside(folder: Path, location: str, where: str) -> Path:
    """A file of weights, which a model from outside may look for nowhere but in its own folder."""
    with reading(f"{where} keeps weights in {short(location)}, which is no file's name", "export it again"):
        root = Path(os.path.realpath(folder))
        place = Path(os.path.realpath(folder / location))
    if not location or Path(location).is_absolute() or ".." in Path(location).parts or not place.is_relative_to(root):
        raise XkdError(f"{where} keeps weights in {short(location)}, outside of its folder; put them beside the model")
    return place


def _tensors(model: Any) -> Iterator[Any]:
    """All tensors that a model stores, those of its functions and branches too."""
    pending = [model.graph, *model.functions]
    while pending:
        graph = pending.pop()
        yield from getattr(graph, "initializer", ())
        for node in graph.node:
            for attribute in node.attribute:
                yield from (attribute.t, *attribute.tensors)
                pending += [attribute.g, *attribute.graphs]
