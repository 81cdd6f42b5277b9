"""Engines: they give torch's logits, or are refused; a run says which one it was; its rows depend on nothing else."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import nn

from tests.engines.test_eager import classifier_of
from xkd_eval import evaluate, load_classifier, perturbation_test, segmentation_test
from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.classifiers.proof.probes import random_images
from xkd_eval.engines.base import ENGINES, Engine
from xkd_eval.engines.bfloat16 import bf16_is_native
from xkd_eval.engines.network import Network
from xkd_eval.engines.onnxruntime_engine import OnnxruntimeEngine
from xkd_eval.engines.plan import Plan, built, plan
from xkd_eval.errors import XkdError
from xkd_eval.testing.networks import small_classifier

CPU = torch.device("cpu")
OTHERS = ("openvino", "onnxruntime")
NETWORKS = {
    "norms to fold": lambda: timm.create_model("mobilenetv2_035", num_classes=10),
    "tokens": lambda: timm.create_model(
        "vit_tiny_patch16_224", num_classes=10, img_size=64, depth=2, class_token=False, global_pool="avg"
    ),
}


@pytest.fixture(scope="module", params=NETWORKS)
def network(request) -> Classifier:
    torch.manual_seed(0)
    return classifier_of(NETWORKS[request.param]())


def on(chosen: Plan, classifier: Classifier, precision="fp32") -> Network:
    preprocess = classifier.preprocess
    forward = built(chosen, classifier, preprocess, precision)
    return Network(classifier, preprocess, CPU, precision, plan=chosen, forward=forward)


@pytest.mark.parametrize("engine", OTHERS)
def test_an_engine_gives_torchs_logits_of_each_image_alone(network, engine):
    images = random_images(network.preprocess, 11, 19)
    plain = Network(network, network.preprocess, CPU)
    chosen = plan(network, network.preprocess, CPU, engine=engine)
    assert (chosen.engine, chosen.version) == (engine, ENGINES[engine]().version)
    other = on(chosen, network)
    expected, found = plain.classify(images), other.classify(images)
    assert not torch.equal(found, expected)  # it is another computation
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4 * float(expected.abs().max()))
    assert torch.equal(other.clean(images, ["a", "b"])[0], plain.clean(images, ["a", "b"])[0])
    one_by_one = torch.cat([other.classify(image[None]) for image in images])
    assert torch.equal(one_by_one, found)
    order = torch.randperm(19)
    assert torch.equal(other.classify(images[order]), found[order])


@pytest.mark.skipif(not bf16_is_native(CPU), reason="this processor has no bfloat16")
def test_openvino_in_bfloat16_is_near(network):
    chosen = plan(network, network.preprocess, CPU, "bf16", "openvino")
    images = random_images(network.preprocess, 11, 8)
    exact = Network(network, network.preprocess, CPU).classify(images)
    error = (on(chosen, network, "bf16").classify(images) - exact).abs().max()
    assert 1e-5 * exact.abs().max() < error < 0.05 * exact.abs().max()


def wrong(**changed) -> type[Engine]:
    """An engine whose answers are not torch's in one way."""

    class Wrong(Engine):
        name, packages, extra = "wrong", ("torch",), "none"

        def compiled(self, network, example, precision):
            if "raises" in changed:
                raise changed["raises"]
            return lambda images: changed["answer"](network, images)

    return Wrong


TRAPS = {
    "off by more than rounding": (
        {"answer": lambda network, images: 1.001 * network(images)},
        r"its logits differ from torch's by 0\.\S+, and \S+ is allowed",
    ),
    "another shape": (
        {"answer": lambda network, images: network(images)[:, 1:]},
        r"it gives logits \(64, 4\), and torch \(64, 5\)",
    ),
    "not finite": (
        {"answer": lambda network, images: torch.full((64, 5), torch.nan)},
        r"its logits differ from torch's by nan, and \S+ is allowed",
    ),
    "of all in the batch alike": (
        {"answer": lambda network, images: network(images) + 1e-6 * images.amax()},
        "its answer to an image depends on the others of a batch",
    ),
    "of the others in the batch": (
        {"answer": lambda network, images: network(images) + 1e-6 * network(images).roll(1, 0)},
        "its answer to an image depends on the others of a batch",
    ),
    "it raises": ({"raises": KeyError("conv9")}, r"it cannot convert the network \(KeyError 'conv9'\)"),
    "no such precision": ({"raises": XkdError("no bf16 here")}, "no bf16 here"),
}


@pytest.mark.parametrize("trap", TRAPS)
def test_what_an_engine_gets_wrong_is_said(trap):
    changed, message = TRAPS[trap]
    ENGINES.add("wrong", wrong(**changed))
    classifier = small_classifier()
    with pytest.raises(XkdError, match=rf"^engine: SmallNetwork is not run by wrong: {message}; use torch, or auto$"):
        built(plan(classifier, classifier.preprocess, CPU, engine="wrong"), classifier, classifier.preprocess, "fp32")


def said(caplog) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "xkd_eval.models"]


def test_auto_takes_the_first_that_holds_and_says_what_does_not(monkeypatch, caplog):
    classifier = small_classifier()
    assert plan(classifier, classifier.preprocess, CPU, engine="auto").engine == "onnxruntime"
    refused = wrong(raises=XkdError("no such layer")).compiled
    monkeypatch.setattr(OnnxruntimeEngine, "compiled", refused)
    assert plan(classifier, classifier.preprocess, CPU, engine="auto").engine == "openvino"
    assert said(caplog) == []  # another one serves
    for name in OTHERS:
        monkeypatch.setattr(ENGINES[name], "compiled", refused)
    chosen = plan(classifier, classifier.preprocess, CPU, engine="auto")
    assert (chosen.engine, chosen.version) == ("torch", torch.__version__)
    (line,) = said(caplog)
    assert line == "SmallNetwork: engine torch; not onnxruntime: no such layer; not openvino: no such layer"


def test_auto_is_torch_where_nothing_is_installed(monkeypatch, caplog):
    monkeypatch.setattr(Engine, "is_installed", property(lambda self: False))
    classifier = small_classifier()
    assert plan(classifier, classifier.preprocess, CPU, engine="auto").engine == "torch"
    assert said(caplog) == []
    with pytest.raises(XkdError, match=r"^engine: onnxruntime is not installed; .* 'xkd-eval\[onnx\]'`$"):
        plan(classifier, classifier.preprocess, CPU, engine="onnxruntime")


@pytest.mark.parametrize(
    ("engine", "device", "message"),
    [
        ("tensorrt", CPU, "^engine: unknown 'tensorrt'; expected one of auto, torch, onnxruntime, openvino$"),
        (
            "openvino",
            torch.device("cuda"),
            "^engine: openvino runs on the CPU, and the device is cuda; use torch, or d",
        ),
    ],
)
def test_engines_that_cannot_be_had(engine, device, message):
    classifier = small_classifier()
    with pytest.raises(XkdError, match=message):
        plan(classifier, classifier.preprocess, device, engine=engine)


def test_an_accelerator_runs_torch():
    classifier = small_classifier()
    assert plan(classifier, classifier.preprocess, torch.device("cuda"), engine="auto").engine == "torch"


def test_a_network_in_a_file_keeps_its_own_engine(tmp_path):
    from distill.students.export import export

    path = tmp_path / "student.onnx"
    export("embedded/kd", path)
    graph = load_classifier(path)
    chosen = plan(graph, graph.preprocess, CPU, engine="openvino")
    assert chosen.engine == "onnxruntime" and built(chosen, graph, graph.preprocess, "fp32") is None
    assert segmentation_test(graph, limit=4).summary["engine"]["name"] == "onnxruntime"  # of its clean pass


class Doubled(nn.Module):
    """Of no closed form, with a layer that torch's exporter refuses."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3, 4)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        pooled = images.mean((2, 3))
        return self.head(pooled) * float(bool((pooled[0] > -100).all()))  # reads values


@pytest.mark.parametrize("engine", OTHERS)
def test_what_cannot_be_exported_is_refused_in_a_line(engine):
    classifier = Classifier(
        Doubled().eval(), Preprocess(size=(8, 8)), name="net", num_classes=4, head_refusal="made for the test"
    )
    with pytest.raises(XkdError, match=rf"^engine: net is not run by {engine}: it cannot convert the network \(.*\)"):
        built(Plan(8, 8, engine), classifier, classifier.preprocess, "fp32")


@pytest.mark.skipif(bf16_is_native(CPU), reason="this processor has bfloat16")
def test_bfloat16_that_would_be_float32_is_refused():
    classifier = small_classifier()
    with pytest.raises(
        XkdError, match=r"^engine: SmallNetwork is not run by openvino: this processor has no bfloat16;"
    ):
        built(Plan(8, 8, "openvino"), classifier, classifier.preprocess, "bf16")


def test_what_asks_no_engine_needs_none():
    """A test that makes no images is scored whatever the engine refuses; a name that nobody knows is refused always."""
    ENGINES.add("wrong", wrong(raises=XkdError("no such layer")))
    found = segmentation_test("embedded/kd", limit=4, engine="wrong")
    assert found.summary["engine"] == {"name": "torch", "version": torch.__version__}
    with pytest.raises(XkdError, match=r"^engine: .* is not run by wrong: no such layer; use torch, or auto$"):
        perturbation_test("embedded/kd", limit=4, engine="wrong")
    with pytest.raises(XkdError, match=r"^engine: unknown 'tensorrt'"):
        segmentation_test("embedded/kd", limit=4, engine="tensorrt")


def test_an_engine_of_ones_own_is_named_by_where_it_stands():
    found = perturbation_test("embedded/kd", limit=4, engine=f"py:{__name__}:Own")
    assert found.summary["engine"] == {"name": f"py:{__name__}:Own", "version": torch.__version__}


class Own(Engine):
    """Torch under another name."""

    name, packages, extra = "own", ("torch",), "none"

    def compiled(self, network, example, precision):
        return network


def test_models_in_turns_come_to_the_same_on_an_engine(tmp_path):
    options = {"tests": "perturbation", "limit": 6, "engine": "onnxruntime"}
    models = ["embedded/teacher", "embedded/kd"]
    together, in_turns = (
        evaluate(models, **options, models_at_once=count, output=tmp_path / str(count)) for count in (2, 1)
    )
    for one, other in zip(together.results, in_turns.results, strict=True):
        assert one.rows.equals(other.rows)


def test_a_run_says_its_engine_and_belongs_to_it(tmp_path):
    found = perturbation_test("embedded/kd", limit=20, engine="openvino", output=tmp_path / "a", figures=False)
    version = ENGINES["openvino"]().version
    assert found.summary["engine"] == found.description["engine"] == {"name": "openvino", "version": version}
    plain = perturbation_test("embedded/kd", limit=20, output=tmp_path / "b", figures=False)
    assert plain.summary["engine"] == {"name": "torch", "version": torch.__version__}
    hits = [name for name in plain.rows.column_names if name.endswith("_hit")]
    assert hits and all(found.rows[name] == plain.rows[name] for name in hits)
    with pytest.raises(XkdError, match=r"holds another run; these differ: engine\.name, engine\.version;"):
        perturbation_test("embedded/kd", limit=20, output=tmp_path / "a", figures=False)


@pytest.mark.parametrize("engine", OTHERS)
def test_answers_are_the_same_bits_for_any_number_of_threads(network, engine, monkeypatch):
    images, found = random_images(network.preprocess, 11, 8), []
    for count in (1, 2):
        monkeypatch.setattr(torch, "get_num_threads", lambda count=count: count)
        chosen = plan(network, network.preprocess, CPU, engine=engine)
        found.append(on(chosen, network).classify(images))
    assert torch.equal(*found)
