"""Exports give the same logits and maps, or nothing."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from distill.students.export import export
from xkd_eval import load_classifier, open_dataset
from xkd_eval.classifiers.proof.probes import random_images
from xkd_eval.datasets import limit
from xkd_eval.datasets.samples import load_sample
from xkd_eval.errors import XkdError


@pytest.mark.parametrize("suffix", [".safetensors", ".onnx"])
def test_exports_give_the_same_logits(teacher, tmp_path, suffix):
    if suffix == ".onnx":
        pytest.importorskip("onnxruntime")
    output = tmp_path / f"student{suffix}"
    assert export(teacher, output).difference < 1e-4
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
        "distill.students.export._run_tensors", lambda classifier, content, images: classifier(images) * 1.01
    )
    with pytest.raises(XkdError, match=r"the logits of a\.safetensors differ"):
        export(teacher, tmp_path / "a.safetensors")
    assert not list(tmp_path.iterdir())
    with pytest.raises(XkdError, match=r"expected \.safetensors, \.onnx or \.xml"):
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


def test_an_openvino_file_and_an_onnx_file_are_read_as_the_student(teacher, tmp_path):
    student = load_classifier(teacher)
    images = random_images(student.preprocess, seed=3)
    for suffix in (".onnx", ".xml"):
        made = export(teacher, tmp_path / f"student{suffix}")
        graph = load_classifier(tmp_path / f"student{suffix}")
        assert (graph.preprocess, graph.class_names) == (student.preprocess, student.class_names)
        assert graph.head == made.cam and made.cam.proof_error < 1e-5
        torch.testing.assert_close(graph(images), student(images), rtol=1e-4, atol=1e-4)
    assert {path.name for path in tmp_path.iterdir()} == {"student.onnx", "student.xml", "student.bin"}
    text = (tmp_path / "student.onnx").read_bytes() + (tmp_path / "student.xml").read_bytes()
    assert str(tmp_path).encode() not in text and b"site-packages" not in text  # of no machine


@pytest.mark.parametrize("suffix", [".onnx", ".xml"])
def test_the_maps_as_a_second_output(suffix, tmp_path):
    """Any device that runs the file has them, without a gradient and without this project."""
    model = "embedded/kd"
    student = load_classifier(model)
    images = random_images(student.preprocess, seed=3)
    logits, features = student.forward_with_features(images)
    export(model, tmp_path / f"student{suffix}", cam=True)
    found = outputs_of(tmp_path / f"student{suffix}", images)
    torch.testing.assert_close(found["logits"], logits, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found["cam"], student.cams(features), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found["cam"].mean((2, 3)) + student.head_bias, logits, rtol=1e-4, atol=1e-4)
    again = load_classifier(tmp_path / f"student{suffix}")
    assert again.head is not None and torch.equal(again(images), found["logits"])
    searched = again.cams(again.forward_with_features(images).features)  # without a look at the second output
    torch.testing.assert_close(searched, found["cam"], rtol=1e-5, atol=1e-5)


def outputs_of(path, images):
    if path.suffix == ".xml":
        import openvino

        compiled = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        return {value.any_name: torch.from_numpy(array) for value, array in compiled(images.numpy()).to_dict().items()}
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path))
    names = [value.name for value in session.get_outputs()]
    assert json.loads(session.get_modelmeta().custom_metadata_map.get("outputs", "{}")) in (
        {"logits": "logits", "cam": "cam"},
        {},
    )
    return dict(zip(names, map(torch.from_numpy, session.run(None, {"images": images.numpy()})), strict=True))


@pytest.mark.parametrize("name", ["convnext", "tokens"])
def test_the_maps_of_a_network_with_a_norm_before_its_head(name, tmp_path, monkeypatch):
    """A LayerNorm is frozen per image, and averaged tokens are laid out as a map, in the file's own operations."""
    (tmp_path / "normed.py").write_text(
        "import timm, torch\n"
        "def convnext():\n"
        "    return drawn('convnext_atto', 'head.norm')\n"
        "def tokens():\n"
        "    return drawn('test_vit', 'fc_norm', global_pool='avg')\n"
        "def drawn(name, norm, **options):\n"
        "    torch.manual_seed(0)\n"
        "    model = timm.create_model(name, num_classes=5, **options)\n"
        "    for parameter in model.get_submodule(norm).parameters():\n"
        "        torch.nn.init.normal_(parameter)\n"
        "    return model\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    export(f"py:normed:{name}", tmp_path / "net.onnx", cam=True)
    student = load_classifier(f"py:normed:{name}")
    images = random_images(student.preprocess, seed=3)
    found = outputs_of(tmp_path / "net.onnx", images)
    expected = student.cams(student.forward_with_features(images).features)
    assert float((found["cam"] - expected).abs().max()) < 1e-4 * float(expected.abs().max())


def test_eight_bit_integers_are_calibrated_and_their_cam_is_proven(tmp_path):
    told = []
    images = limit(open_dataset("embedded:train"), 40)
    made = export(
        "embedded/kd",
        tmp_path / "int8.onnx",
        cam=True,
        quantise="int8",
        calibration=images,
        progress=lambda *point: told.append(point),
    )
    found = made.quantised
    assert found.images == 40 and found.agreement > 0.9 and 1e-3 < found.difference < 0.1
    written = (tmp_path / "int8.onnx").stat().st_size
    assert found.bytes_after < written < found.bytes_after + 500 < 0.6 * found.bytes_before  # the maps cost no weights
    assert told[4] == ("calibrating", 40, 40) and told[-1] == ("comparing", 40, 40) and len(told) == 10
    graph, plain = load_classifier(tmp_path / "int8.onnx"), load_classifier("embedded/kd")
    assert graph.preprocess == plain.preprocess and graph.class_names == plain.class_names
    assert 1e-4 < graph.head.proof_error < graph.head.tolerance < 0.03
    pixels = torch.stack([plain.preprocess.pixels(load_sample(images, place).image) for place in range(8)])
    batch = plain.preprocess.normalise(pixels)
    maps = outputs_of(tmp_path / "int8.onnx", batch)["cam"]
    torch.testing.assert_close(maps, graph.cams(graph.forward_with_features(batch).features), rtol=1e-4, atol=1e-4)
    theirs = plain.cams(plain.forward_with_features(batch).features)
    assert np.corrcoef(maps.flatten(), theirs.flatten())[0, 1] > 0.99


REFUSED = {
    "cam of weights": (".safetensors", {"cam": True}, "cam: found beside .safetensors, which holds no graph"),
    "integers in OpenVINO": (".xml", {"quantise": "int8"}, "quantise: found beside .xml"),
    "integers without data": (".onnx", {"quantise": "int8"}, "quantise: no `data`"),
    "other integers": (".onnx", {"quantise": "int4"}, "quantise: 'int4' found; expected int8"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_does_not_go_together(what, tmp_path):
    suffix, options, expected = REFUSED[what]
    with pytest.raises(XkdError, match=f"^{expected}"):
        export("embedded/kd", tmp_path / f"a{suffix}", **options)
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_exported(teacher, tmp_path):
    export(teacher, tmp_path / "student.onnx")
    with pytest.raises(XkdError, match=r"^model: .*student\.onnx' is a graph already; export what it was made of$"):
        export(tmp_path / "student.onnx", tmp_path / "again.xml")
    with pytest.raises(XkdError, match=r"\.safetensors holds the architecture that a checkpoint names, and embed"):
        export("embedded/kd", tmp_path / "a.safetensors")
    with pytest.raises(XkdError, match=r"^quantise: `data` without it"):
        export("embedded/kd", tmp_path / "a.onnx", calibration=open_dataset("embedded:train"))


def test_the_command(teacher, tmp_path, xkd_distill):
    code, out, err = xkd_distill("export", teacher, "-o", "student.xml", "--cam")
    assert code == 0 and err.startswith("student: input: ") and err.count("\n") == 1
    assert "student.xml: logits equal to" in out and "CAM: proven in the file, logits re-derived from the maps" in out
    asked = ("--quantise", "int8", "--data", "embedded", "--calibration", 16)
    code, out, err = xkd_distill("export", "embedded/kd", "-o", "int8.onnx", *asked)
    assert code == 0 and err.startswith("embedded/kd: input: ") and err.count("\n") == 1
    assert "bytes in float32" in out and "on 16 calibration images: the same class of" in out
    code, out, err = xkd_distill("export", "embedded/kd", "-o", "int8.onnx", "--data", "embedded")
    assert (code, out) == (2, "") and err.startswith("error: --quantise: --data without it") and err.count("\n") == 1
