"""Exports give the same logits, or nothing."""

import json

import pytest
import torch
from safetensors.torch import load_file

from distill.students.export import export
from xkd_eval import load_classifier
from xkd_eval.errors import XkdError


@pytest.mark.parametrize("suffix", [".safetensors", ".onnx"])
def test_exports_give_the_same_logits(teacher, tmp_path, suffix):
    if suffix == ".onnx":
        pytest.importorskip("onnxruntime")
    output = tmp_path / f"student{suffix}"
    assert export(teacher, output) < 1e-4
    classifier = load_classifier(teacher)
    images = torch.randn(5, 3, 32, 32)
    if suffix == ".onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(str(output))
        logits = torch.from_numpy(session.run(None, {"images": images.numpy()})[0])
        assert json.loads(session.get_modelmeta().custom_metadata_map["preprocess"])["channel_order"] == "BGR"
        torch.testing.assert_close(logits, classifier(images), rtol=1e-4, atol=1e-4)
    else:
        assert load_file(output).keys() == classifier.model.state_dict().keys()
        again = load_classifier("xkd/resnet8", weights=output)
        torch.testing.assert_close(again(images), classifier(images))
        whole = load_classifier(output)
        assert (whole.digest(), whole.class_names) == (classifier.digest(), classifier.class_names)
        assert whole.preprocess == classifier.preprocess


def test_an_export_that_differs_leaves_nothing(teacher, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "distill.students.export._run_tensors", lambda classifier, path, images: classifier(images) * 1.01
    )
    with pytest.raises(XkdError, match=r"the logits of a\.safetensors differ"):
        export(teacher, tmp_path / "a.safetensors")
    assert not list(tmp_path.iterdir())
    with pytest.raises(XkdError, match=r"expected \.safetensors or \.onnx"):
        export(teacher, tmp_path / "a.pb")


def test_a_flipped_bit_in_an_exported_mean_does_not_pass(teacher, tmp_path):
    output = tmp_path / "student.safetensors"
    export(teacher, output)
    content = bytearray(output.read_bytes())
    content[content.index(b"mean") + 12] ^= 1
    output.write_bytes(content)
    for arguments in ({"model": output}, {"model": "xkd/resnet8", "weights": output}):
        with pytest.raises(XkdError, match=r"student\.safetensors' is damaged: its content is not what its digest"):
            load_classifier(**arguments)


@pytest.mark.parametrize(("name", "advice"), [("file/a", "is a file"), ("a" * 300, "a shorter name")])
def test_places_where_no_export_can_be(teacher, tmp_path, name, advice):
    (tmp_path / "file").touch()
    with pytest.raises(XkdError, match=rf"^output: .* cannot be written \(.*\); .*{advice}"):
        export(teacher, tmp_path / f"{name}.safetensors")
