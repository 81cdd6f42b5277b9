"""Stored answers: they are the teacher's own, one folder serves many students, and what does not fit is refused."""

import json
import os
import shutil
import signal
from collections import namedtuple

import pytest
import torch

from distill.recipe.parse import parse_recipe
from distill.runs.interruption import TrainingInterruptedError
from distill.training.captured_step import check_capturable
from distill.training.setup import set_up
from distill.training.store import store_answers
from distill.training.train import train
from tests.distill.conftest import EXP_KD, KD, assert_same_bits, values_of, weights_of
from tests.distill.training.test_teachers import reordered
from xkd_eval.classifiers.checkpoint import read_checkpoint, save_checkpoint
from xkd_eval.errors import XkdError

STUDENT = {"architecture": "resnet8", "arguments": {"widths": [2, 2, 4, 4]}, "preprocess": {"size": [16, 16]}}
KEYS = {"loader": "device", "padding": 2, "flip": True, "images": 96, "rounds": 2}
LOSSES = [*KD, EXP_KD[1]]
IMAGES = 96


@pytest.fixture(scope="module")
def made(cifar10, teacher):
    """Keys of `data`, the folder of the answers, other keys -> Recipe beside a teacher of 32 pixels."""

    def make(keys=None, stored=None, **changes):
        data = {"path": str(cifar10), **KEYS, **(keys or {})}
        named = {"teacher": {"model": str(teacher), **({} if stored is None else {"stored": str(stored)})}}
        values = {"student": STUDENT, "losses": LOSSES, "epochs": 2, **named, **changes}
        return parse_recipe(values_of(cifar10, data=data, **values))

    return make


@pytest.fixture(scope="module")
def answers(made, tmp_path_factory):
    """All logits and maps of two rounds."""
    folder = tmp_path_factory.mktemp("answers") / "all"
    store_answers(made(), folder, top_k="all", maps=True, device="cpu")
    return folder


@pytest.fixture(scope="module")
def few(made, tmp_path_factory):
    """The three most probable classes of two rounds."""
    folder = tmp_path_factory.mktemp("answers") / "few"
    store_answers(made(), folder, top_k=3, device="cpu")
    return folder


def passes_of(setup, epoch):
    """Each batch, and what the teachers make of it."""
    return [(batch, setup.teachers(batch)) for batch in setup.train.batches(epoch, 0)]


@pytest.mark.parametrize("changes", [{}, {"seed": 3, "keys": {"val_split": 0.25}}])
def test_what_is_read_is_what_the_teacher_makes_of_the_batch(made, answers, tmp_path, changes):
    live, stored = (set_up(made(stored=folder, **changes), "cpu", tmp_path) for folder in (None, answers))
    for epoch in (0, 3):
        for (batch, theirs), (same, ours) in zip(passes_of(live, epoch), passes_of(stored, epoch), strict=True):
            assert torch.equal(batch.pixels, same.pixels)
            assert same.others == ()  # nobody looks
            torch.testing.assert_close(ours[0].logits, theirs[0].logits, rtol=1e-3, atol=1e-3)
            torch.testing.assert_close(ours[0].features, theirs[0].features, rtol=1e-3, atol=1e-3)
            assert torch.equal(ours[0].head_weight, theirs[0].head_weight)
    halves = [stored.teachers(part)[0].logits for part in same.micro_batches(2)]  # as of two processes
    assert torch.equal(torch.cat(halves), ours[0].logits)


def test_losses_and_scores_are_those_of_the_live_teacher(made, answers, tmp_path):
    live, stored = (
        train(made(stored=folder), tmp_path / str(folder is None), device="cpu") for folder in (None, answers)
    )
    assert stored.result["teachers"] == live.result["teachers"]
    for loss in ("kd", "exp_kd", "ce"):
        assert stored.metrics[loss].tolist() == pytest.approx(live.metrics[loss].tolist(), rel=5e-3)


def test_workers_read_the_same_answers_without_making_the_teachers_view(made, tmp_path):
    keys = {"loader": "workers", "workers": 0, "erasing": 0.5}
    data = {key: value for key, value in KEYS.items() if key != "padding"} | keys
    recipes = [made(stored=folder) for folder in (None, tmp_path / "answers")]
    path = recipes[0].data.path
    recipes = [
        parse_recipe({**recipe.model_dump(mode="json", exclude_none=True), "data": {**data, "path": path}})
        for recipe in recipes
    ]
    store_answers(recipes[1], top_k="all", maps=True, device="cpu")  # into the teacher's `stored`
    live, stored = (set_up(recipe, "cpu", tmp_path) for recipe in recipes)
    (batch, theirs), (same, ours) = (passes_of(setup, 1)[0] for setup in (live, stored))
    assert torch.equal(batch.pixels, same.pixels)
    assert same.others == ()
    torch.testing.assert_close(ours[0].logits, theirs[0].logits, rtol=1e-3, atol=1e-3)


def test_one_of_two_teachers_is_stored_and_the_other_looks(made, answers, cifar10, teacher, tmp_path):
    checkpoint = read_checkpoint(teacher)
    order = [3, 0, 1, 2, 9, 8, 7, 6, 5, 4, 0]
    names = (*(f"class {index}" for index in order[:10]), "unheard of")
    save_checkpoint(reordered(checkpoint, order, names), tmp_path / "more.pt")
    named = {
        "more": {"model": str(tmp_path / "more.pt"), "stored": str(tmp_path / "more")},
        "own": {"model": str(teacher)},
    }
    losses = [
        {"method": "ce"},
        {"method": "kd", "teacher": "more"},
        {"method": "exp_kd", "teacher": "own", "weight": 9},
    ]
    recipe = made(teacher=None, teachers=named, losses=losses)
    with pytest.raises(XkdError, match=r"^teacher_name: missing; the recipe's teachers are more, own"):
        store_answers(recipe, tmp_path / "more", device="cpu")
    kept = store_answers(recipe, teacher_name="more", top_k=10, device="cpu")
    assert kept.form.top_k is None  # of ten classes
    setup = set_up(recipe, "cpu", tmp_path)
    (batch, (more, own)), *_ = passes_of(setup, 0)
    assert [view.shape[-1] for view in batch.others] == [32]
    torch.testing.assert_close(more.logits, own.logits, rtol=2e-3, atol=2e-3)  # classes in the data's order


def test_students_of_other_seeds_and_parts_share_a_folder(made, few, tmp_path):
    before = {path.name: path.stat().st_mtime_ns for path in few.iterdir()}
    results = [
        train(made({"val_split": split}, few, losses=KD, seed=seed), tmp_path / f"{seed}", device="cpu").result
        for seed, split in ((0, 0.0), (1, 0.25))
    ]
    assert results[0]["last"]["kd"] != results[1]["last"]["kd"]
    assert results[0]["origin"]["answers"] == results[1]["origin"]["answers"]
    assert results[0]["origin"]["answers"]["teacher"]["top_k"] == 3
    assert before == {path.name: path.stat().st_mtime_ns for path in few.iterdir()}


def test_the_bytes_that_are_said_are_those_on_disk(made, tmp_path):
    points = []
    stored = store_answers(made(), tmp_path / "answers", top_k=3, device="cpu", progress=points.append)
    sizes = [path.stat().st_size for path in (tmp_path / "answers").glob("round-*.npy")]
    assert len(sizes) == 2
    assert sum(sizes) == stored.bytes == points[0].bytes == points[0].bytes_due
    assert [points[0].images, points[-1].images, points[0].total_images] == [0, 2 * IMAGES, 2 * IMAGES]


def test_what_was_killed_goes_on_to_the_same_bytes_and_more_rounds_are_added(made, answers, tmp_path):
    folder = tmp_path / "answers"

    def kill(point):
        if point.images > IMAGES:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store_answers(made(), folder, top_k="all", maps=True, device="cpu", progress=kill)
    (folder / ".round-0001.npy.0123").write_bytes(b"half of it")
    with pytest.raises(
        XkdError, match=r"holds 1 rounds of augmentations and data\.rounds is 2; `xkd-distill store` makes"
    ):
        set_up(made(stored=folder), "cpu", tmp_path)
    points = []
    store_answers(made(), folder, top_k="all", maps=True, device="cpu", progress=points.append)
    assert points[0].images == IMAGES
    assert points[0].bytes_due * 2 == points[0].bytes
    files = {path.name: path.read_bytes() for path in folder.iterdir() if path.name != ".lock"}
    assert files == {path.name: path.read_bytes() for path in answers.iterdir() if path.name != ".lock"}
    more = store_answers(made({"rounds": 3}), folder, top_k="all", maps=True, device="cpu")
    assert more.rounds == 3
    set_up(made(stored=folder), "cpu", tmp_path)  # which needs the first two


def test_a_training_goes_on_to_the_same_bits(made, few, tmp_path):
    def stop(point):
        if point.images == 4 * 32:
            os.kill(os.getpid(), signal.SIGINT)

    recipe = made(stored=few, losses=KD, ema_decay=0.9)
    train(recipe, tmp_path / "whole", device="cpu")
    with pytest.raises(TrainingInterruptedError):
        train(recipe, tmp_path / "cut", device="cpu", progress=stop)
    with pytest.raises(
        XkdError, match=r"learned from stored answers \(the top 3 of teacher in fp32\), and not from teach"
    ):
        train(made(losses=KD, ema_decay=0.9), tmp_path / "cut", device="cpu", resume=True)
    train(recipe, tmp_path / "cut", device="cpu", resume=True)
    assert_same_bits(weights_of(tmp_path / "cut"), weights_of(tmp_path / "whole"))
    train(recipe, tmp_path / "whole", device="cpu")  # finished, and of the same answers
    with pytest.raises(XkdError, match="learned from stored answers"):
        train(made(losses=KD, ema_decay=0.9), tmp_path / "whole", device="cpu")


@pytest.mark.parametrize(
    ("keys", "changes", "message"),
    [
        ({"images": 64}, {}, r"holds answers to 96 images, and there are 64 here; store them anew"),
        ({"padding": 1}, {}, r"holds answers to images of another augmentation: padding is 2 there, and 1 here"),
        ({"erasing": 0.5}, {}, r"another augmentation: erasing is null there, and 0\.5 here"),
        ({"rounds": 3}, {}, r"holds 2 rounds of augmentations and data\.rounds is 3"),
        ({"rounds": None}, {}, r"^data\.rounds: missing; stored answers are to a fixed list of augmentations"),
        ({"mixup": 0.5}, {}, r"^data\.mixup: no stored answer is to a mixed image; leave `mixup` or"),
        (
            {},
            {"student": {**STUDENT, "preprocess": {"size": [20, 20]}}},
            r"augmentation: student_size is \[16, 16\] there",
        ),
        ({}, {"losses": LOSSES}, r"exp_kd needs the teacher's maps, and '.*few' holds none; store them by"),
        ({}, {"losses": [*KD, {"method": "at"}]}, r"at needs the teacher's taps, which no stored answer holds"),
        ({}, {"losses": [*KD, {"method": "e2kd"}]}, r"e2kd needs the teacher's input gradients, which no stored"),
    ],
)
def test_what_does_not_fit_is_one_line(made, few, tmp_path, keys, changes, message):
    with pytest.raises(XkdError, match=message) as error:
        set_up(made(keys, few, **{"losses": KD, **changes}), "cpu", tmp_path)
    assert "\n" not in str(error.value)
    assert str(error.value).startswith(("teacher.stored: ", "data."))


def test_a_graph_holds_no_answers_that_are_read(made, few, tmp_path, monkeypatch):
    setup = set_up(made(stored=few, losses=KD), "cpu", tmp_path)
    monkeypatch.setattr(type(setup.accelerator), "device", torch.device("cuda"))
    with pytest.raises(XkdError, match=r"^capture: a teacher's answers are stored; leave `capture` out"):
        check_capturable(setup)


def test_another_teacher_is_refused(made, few, tmp_path, teacher):
    checkpoint = read_checkpoint(teacher)
    checkpoint.state_dict["linear.bias"] += 1
    save_checkpoint(checkpoint, tmp_path / "other.pt")
    named = {"model": str(tmp_path / "other.pt"), "stored": str(few)}
    with pytest.raises(XkdError, match=r"holds answers of another teacher, which differs in its weights"):
        set_up(made(losses=KD, teacher=named), "cpu", tmp_path)


def damage(folder):
    path = folder / "round-0001.npy"
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)


def edit(folder):
    values = json.loads((folder / "index.json").read_text())
    values["source"]["shown"]["padding"] = 9
    (folder / "index.json").write_text(json.dumps(values))


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (damage, r"round-0001\.npy is damaged or gone; `xkd-distill store` makes it again"),
        (lambda folder: (folder / "round-0000.npy").unlink(), r"round-0000\.npy is damaged or gone"),
        (edit, r"index\.json is not as it was written; restore it"),
        (lambda folder: (folder / "index.json").write_text("{"), r"index\.json' is no JSON"),
        (shutil.rmtree, r"holds no stored answers; make them by `xkd-distill store`"),
    ],
)
def test_a_folder_that_was_harmed_is_one_line(made, few, tmp_path, harm, message):
    shutil.copytree(few, tmp_path / "copy")
    harm(tmp_path / "copy")
    with pytest.raises(XkdError, match=message) as error:
        set_up(made(stored=tmp_path / "copy", losses=KD), "cpu", tmp_path)
    assert "\n" not in str(error.value)
    if harm is damage:
        store_answers(made(), tmp_path / "copy", top_k=3, device="cpu")
        assert (tmp_path / "copy" / "round-0001.npy").read_bytes() == (few / "round-0001.npy").read_bytes()


def test_what_cannot_be_stored_is_said_before_the_work(made, few, tmp_path, monkeypatch):
    def refused(recipe, folder, message, **options):
        with pytest.raises(XkdError, match=message):
            store_answers(recipe, folder, device="cpu", **options)

    refused(made({"rounds": None}), tmp_path / "new", r"^data\.rounds: missing")
    refused(made({"cutmix": 1.0}), tmp_path / "new", r"^data\.cutmix: no stored answer is to a mixed image")
    refused(made(), None, r"^output: missing; give the folder")
    refused(made(teacher=None, losses=[{"method": "ce"}]), tmp_path / "new", r"^teacher: missing")
    refused(made(), few, r"stored otherwise \(top 3, no maps, fp32; here top 2, no maps, fp32\)", top_k=2)
    refused(made({"padding": 1}), few, r"^output .*few: holds answers to images of another augmentation", top_k=3)
    refused(made(), tmp_path / "new", r"^top_k: 0 found", top_k=0)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").touch()
    refused(made(), tmp_path / "full", r"holds files that are no stored answers; choose an empty")
    usage = namedtuple("usage", "free")(100)
    monkeypatch.setattr("distill.answers.folder.shutil.disk_usage", lambda path: usage)
    refused(made(), tmp_path / "new", r"2,496 bytes are needed and 100 are free on that disk", top_k=3)
    assert not list((tmp_path / "new").glob("round-*"))


def test_the_command_says_how_many_bytes(recipe_file, xkd_distill, teacher, tmp_path):
    path = recipe_file(student=STUDENT, losses=KD, epochs=1)
    given = ["--set", "data.images=96", "--set", "data.rounds=1", "--teacher", teacher]
    code, out, err = xkd_distill("store", path, *given, "--top-k", "3", "-o", "answers")
    size = (tmp_path / "answers" / "round-0000.npy").stat().st_size
    input_line, err = err.split("\n", 1)
    assert ": input: 32x32 BGR, " in input_line and input_line.endswith(" (checkpoint)")
    assert (code, err) == (0, f"1 rounds of 96 images: {size:,} bytes\n")
    assert out == f"answers: 1 rounds of 96 images, {size:,} bytes\n"
    code, _, err = xkd_distill("train", path, *given, "--set", "teacher.stored=answers", "--output", "run")
    assert code == 0, err
    code, _, err = xkd_distill("store", path, *given, "--top-k", "no", "-o", "answers")
    assert (code, err) == (2, "error: --top-k: 'no' found; expected a number of classes, or all\n")
