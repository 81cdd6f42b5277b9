"""An ONNX model as OpenVINO's: an .xml and a .bin, in float32, with the same metadata."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from xkd_eval.classifiers.graphs.openvino_file import SECTION
from xkd_eval.foreign import reading


def openvino_files(model: Any) -> tuple[bytes, bytes]:
    """The bytes of .xml and .bin.

    Args:
        model: an onnx.ModelProto with its weights within.

    Raises:
        XkdError: OpenVINO cannot convert it.
    """
    import openvino

    with TemporaryDirectory() as folder, reading("export: OpenVINO cannot convert this network", "export it as .onnx"):
        source, target = Path(folder, "model.onnx"), Path(folder, "model.xml")
        source.write_bytes(model.SerializeToString())
        converted = openvino.convert_model(source)
        for entry in model.metadata_props:
            converted.set_rt_info(entry.value, [SECTION, entry.key])
        openvino.save_model(converted, target, compress_to_fp16=False)
        return target.read_bytes(), target.with_suffix(".bin").read_bytes()
