"""A teacher that an engine runs: torch's outputs within the tolerance, whatever the batch; what no engine gives."""

from __future__ import annotations

import pytest
import torch

from distill.recipe.parse import parse_recipe
from distill.runs.in_step import lesson_key
from distill.training.setup import set_up
from distill.training.store import store_answers
from distill.training.teachers import FrozenTeacher
from distill.training.train import train
from tests.distill.conftest import EXP_KD, KD, assert_same_bits, values_of, weights_of
from xkd_eval.engines.base import ENGINES, Engine
from xkd_eval.engines.onnxruntime_engine import OnnxruntimeEngine
from xkd_eval.errors import XkdError

OTHERS = ("onnxruntime", "openvino")
AT = [{"method": "ce"}, {"method": "at"}]


@pytest.fixture
def set_up_by(recipe_of, tmp_path, teacher):
    """An engine, and what else a recipe with the teacher changes -> its set-up on the CPU."""

    def make(engine, **changes):
        named = {"model": str(teacher), "engine": engine} | changes.pop("teacher", {})
        return set_up(recipe_of(**{"losses": KD, "teacher": named} | changes), "cpu", tmp_path)

    return make


@pytest.fixture
def quick(monkeypatch):
    """An engine that is torch in another order of adding up, so that no test waits for an exporter."""

    class Quick(Engine):
        name, packages, extra = "quick", ("torch",), "none"

        def compiled(self, network, example, precision):
            return lambda images: network(images) * (1 + 2e-6)

    ENGINES.add("quick", Quick)
    return Quick


def chunks_of(monkeypatch) -> list[int]:
    """How many images each call of the quick engine is given."""
    sizes = []
    compiled = ENGINES["quick"].compiled

    def noted(self, network, example, precision):
        forward = compiled(self, network, example, precision)
        return lambda images: sizes.append(len(images)) or forward(images)

    monkeypatch.setattr(ENGINES["quick"], "compiled", noted)
    return sizes


def near(ours: torch.Tensor, theirs: torch.Tensor) -> bool:
    return bool((ours - theirs).abs().max() <= 1e-4 * theirs.abs().max()) and not torch.equal(ours, theirs)


@pytest.mark.parametrize("engine", OTHERS)
def test_logits_and_maps_are_torchs_up_to_rounding(set_up_by, engine):
    plain, other = set_up_by("torch", losses=EXP_KD), set_up_by(engine, losses=EXP_KD)
    batch = next(iter(plain.train.batches(0, 0)))
    expected, found = plain.teachers(batch)[0], other.teachers(batch)[0]
    assert near(found.logits, expected.logits) and near(found.features, expected.features)
    assert torch.equal(found.head_weight, expected.head_weight)
    assert other.origin.engines == {"teacher": engine} and plain.origin.engines == {}


def test_maps_on_the_way_are_put_out_too(set_up_by):
    plain, other = (set_up_by(engine, losses=AT) for engine in ("torch", "onnxruntime"))
    batch = next(iter(plain.train.batches(0, 0)))
    expected, found = plain.teachers(batch)[0], other.teachers(batch)[0]
    assert list(found.taps) == list(expected.taps) and len(found.taps) > 2
    for name, tap in expected.taps.items():
        assert found.taps[name].shape == tap.shape and (found.taps[name] - tap).abs().max() <= 1e-4 * tap.abs().max()


def test_a_batch_is_given_in_equal_parts_and_the_last_is_padded(set_up_by, quick, monkeypatch):
    sizes = chunks_of(monkeypatch)
    setup, plain = set_up_by("quick", batch_size=100), set_up_by("torch", batch_size=100)
    assert setup.train.steps.sizes[-1] == 50  # of 350
    del sizes[:]
    for epoch_step in (0, 3):
        batch = next(iter(setup.train.batches(0, epoch_step)))
        assert near(setup.teachers(batch)[0].logits, plain.teachers(batch)[0].logits)
    assert sizes == [50, 50, 50]
    part = torch.zeros(7, 3, 32, 32, dtype=torch.uint8)
    alone = setup.teachers.by_name["teacher"](part[:1]).logits
    assert torch.equal(setup.teachers.by_name["teacher"](part).logits, alone.expand(7, -1))
    assert sizes[-2:] == [50, 50]


def test_the_teacher_stays_in_float32_in_a_training_in_bfloat16(set_up_by, quick):
    setup, plain = set_up_by("quick", precision="bf16", batch_size=8), set_up_by("torch", batch_size=8)
    batch = next(iter(setup.train.batches(0, 0)))
    with setup.autocast():
        found = setup.teachers(batch)[0].logits
    assert found.dtype == torch.float32 and near(found, plain.teachers(batch)[0].logits)
    assert set_up_by("auto", precision="bf16", batch_size=8).notes[-1].endswith("; precision bf16 is torch's")


def wrong(factor: float) -> type[Engine]:
    class Wrong(Engine):
        name, packages, extra = "wrong", ("torch",), "none"

        def compiled(self, network, example, precision):
            def forward(images):
                found = network(images)
                return torch.cat([found[:, :10], factor * found[:, 10:]], 1)

            return forward

    return Wrong


def test_what_an_engine_gets_wrong_is_said(set_up_by):
    ENGINES.add("wrong", wrong(1.001))
    with pytest.raises(
        XkdError, match=r"^teacher.engine: student is not run by wrong: its maps differ from torch's by \S+, and \S+ is"
    ):
        set_up_by("wrong", losses=EXP_KD)


REFUSED = {
    "unknown": ({"engine": "onyx"}, {}, r"^teacher.engine: unknown 'onyx'; expected one of auto, torch, onnxruntime"),
    "differentiated": ({}, {"losses": [{"method": "e2kd"}]}, "found, and e2kd needs the teacher's gradients, which no"),
    "explained": (
        {},
        {"losses": [{"method": "ce"}, {"method": "explanation_kd"}]},
        "^teacher.engine: openvino found, and explanation_kd needs the teacher's network in torch, which no engine",
    ),
    "stored": ({"stored": "answers"}, {}, "engine: nothing reads it beside 'stored'"),
    "of another precision": ({"precision": "bf16"}, {}, "engine: 'openvino' runs in float32; leave it or 'precision'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_no_engine_gives_is_refused_in_a_line(set_up_by, case):
    named, changes, message = REFUSED[case]
    with pytest.raises(XkdError, match=message):
        set_up_by("openvino", teacher=named, **changes)


def test_auto_stays_with_torch_where_a_method_needs_it_and_says_so(set_up_by):
    setup = set_up_by("auto", losses=[{"method": "e2kd"}])
    assert setup.origin.engines == {}
    assert setup.notes[-1].startswith("teacher.engine: torch runs student; e2kd needs the teacher's gradients")


def test_auto_takes_the_first_that_holds(set_up_by, monkeypatch):
    def refused(self, network, example, precision):
        raise XkdError("no such layer")

    monkeypatch.setattr(OnnxruntimeEngine, "compiled", refused)
    setup = set_up_by("auto")
    assert setup.origin.engines == {"teacher": "openvino"}
    assert setup.notes[-1].startswith("teacher.engine: openvino ")
    monkeypatch.setattr(ENGINES["openvino"], "compiled", refused)
    setup = set_up_by("auto")
    assert setup.origin.engines == {}
    assert setup.notes[-1].endswith("student; not onnxruntime: no such layer; not openvino: no such layer")
    monkeypatch.setattr(Engine, "is_installed", property(lambda self: False))
    assert set_up_by("auto").notes[-1] == "teacher.engine: torch runs student; no engine is installed"


def test_a_run_is_not_continued_by_another_engine(few_images, tmp_path, teacher, quick, monkeypatch):
    def by(engine):
        named = {"model": str(teacher), "engine": engine}
        return parse_recipe(values_of(few_images, losses=KD, teacher=named, epochs=1))

    monkeypatch.setattr(OnnxruntimeEngine, "compiled", quick.compiled)
    result = train(by("auto"), tmp_path / "run", device="cpu").result
    assert result["origin"]["engines"] == {"teacher": "onnxruntime"}
    assert result["versions"]["onnxruntime"] == OnnxruntimeEngine().version
    assert "teacher.engine: onnxruntime" in " ".join(result["notes"])
    for engine in ("torch", "quick"):
        with pytest.raises(XkdError, match=r"holds a run of another recipe; these differ: teacher"):
            train(by(engine), tmp_path / "run", device="cpu")
    assert train(by("auto"), tmp_path / "run", device="cpu").result == result
    (tmp_path / "run" / "result.json").unlink()  # its state is there
    monkeypatch.setattr(Engine, "is_installed", property(lambda self: False))
    with pytest.raises(XkdError, match="holds a run whose teacher was run by onnxruntime, and not by torch; have the"):
        train(by("auto"), tmp_path / "run", resume=True, device="cpu")


def test_it_trains_as_torch_does_and_the_same_twice(few_images, tmp_path, teacher, quick):
    def by(engine):
        named = {"model": str(teacher), "engine": engine}
        return parse_recipe(values_of(few_images, losses=EXP_KD, teacher=named, epochs=1))

    engines = {"a": "torch", "b": "quick", "c": "quick"}
    runs = [train(by(engine), tmp_path / name, device="cpu") for name, engine in engines.items()]
    plain, other, _ = (run.result for run in runs)
    assert other["last"]["exp_kd"] == pytest.approx(plain["last"]["exp_kd"], rel=0.01)
    assert other["teachers"] == plain["teachers"]
    assert_same_bits(weights_of(tmp_path / "b"), weights_of(tmp_path / "c"))


def test_what_else_is_put_out_parts_those_that_learn_in_step(recipe_of):
    def key(method, engine):
        return lesson_key(recipe_of(losses=[{"method": method}], teacher={"model": "a.pt", "engine": engine}))

    assert key("kd", "torch") == key("sp", "torch") != key("kd", "auto")
    assert key("kd", "auto") == key("exp_kd", "auto") != key("sp", "auto")


def test_answers_are_stored_by_torch(recipe_of, tmp_path, teacher, monkeypatch):
    data = recipe_of().data.model_copy(update={"rounds": 1})
    named = {"model": str(teacher), "engine": "onnxruntime"}
    recipe = recipe_of(losses=KD, teacher=named).model_copy(update={"data": data})
    with pytest.raises(XkdError, match=r"^teacher.engine: onnxruntime found, and answers are stored by torch"):
        store_answers(recipe, tmp_path / "answers", device="cpu")


def test_a_teacher_by_default_is_torchs(set_up_by):
    teacher = set_up_by("torch").teachers.by_name["teacher"]
    assert isinstance(teacher, FrozenTeacher) and (teacher.run_by.engine, teacher.run_by.note) == ("torch", "")
