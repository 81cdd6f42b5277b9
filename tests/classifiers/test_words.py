"""Options behind a model's name: what is written is what is read, and what is not understood is one line."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xkd_eval.classifiers import Preprocess
from xkd_eval.classifiers.words import _READERS, files_of, read_words, weights_in, without_words
from xkd_eval.errors import XkdError

OTHERS = {"weights", "num_classes", "output", "channels"}


@pytest.mark.parametrize(
    ("model", "name", "options"),
    [
        ("student.pt", "student.pt", {}),
        ("student.pt,size=64", "student.pt", {"size": (64, 64)}),
        (
            "timm/resnet18,weights=mine.pth,size=64,mean=0.5,std=0.5,resize=crop",
            "timm/resnet18",
            {"weights": "mine.pth", "size": (64, 64), "mean": 0.5, "std": 0.5, "resize": "crop"},
        ),
        ("py:models:net,mean=0.485,0.456,0.406", "py:models:net", {"mean": (0.485, 0.456, 0.406)}),
        ("a,mean=(0.1,0.2,0.3),std=127/255", "a", {"mean": (0.1, 0.2, 0.3), "std": 127 / 255}),
        ("a,size=224x320,num_classes=7", "a", {"size": (224, 320), "num_classes": 7}),
        ("a, size = 64 , weights = b.pth", "a", {"size": (64, 64), "weights": "b.pth"}),
        ("a,weights=runs/lr=0.1/b,c.pth,size=3", "a", {"weights": "runs/lr=0.1/b,c.pth", "size": (3, 3)}),
        ("a,output=logits,channels=1", "a", {"output": "logits", "channels": 1}),
        ("a,output=0,weights=b.pth#student", "a", {"output": 0, "weights": "b.pth#student"}),
        ("a,b.pt,size=64", "a,b.pt", {"size": (64, 64)}),
        ("kd=student.pt,size=64", "kd=student.pt", {"size": (64, 64)}),
    ],
)
def test_a_name_and_its_options(model, name, options, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert read_words(model) == (name, options)
    assert without_words(model) == name


def test_a_file_is_itself_whatever_its_name_holds(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("lr=0.1,size=64.pt").touch()
    assert read_words("lr=0.1,size=64.pt") == ("lr=0.1,size=64.pt", {})
    assert read_words("lr=0.1,size=64.pt,mean=0.5") == ("lr=0.1,size=64.pt", {"mean": 0.5})
    assert without_words(Path("a,size=64")) == Path("a,size=64")


def test_every_field_of_a_preprocess_is_an_option():
    assert {field.name for field in fields(Preprocess)} | OTHERS == set(_READERS)


def test_the_files_that_a_model_is_read_from():
    assert files_of("timm/a,weights=b.pth,size=3") == ["timm/a", Path("b.pth")]
    assert files_of(Path("a.pt")) == [Path("a.pt")] and weights_in("a.pt,size=3") is None


_numbers = st.floats(1e-3, 1e3).map(lambda value: round(value, 6))
_values = {
    "size": st.tuples(st.integers(1, 999), st.integers(1, 999)),
    "resize": st.sampled_from(["squash", "crop", "squash_crop"]),
    "interpolation": st.sampled_from(["nearest", "bilinear", "bicubic"]),
    "mean": _numbers | st.tuples(_numbers, _numbers, _numbers),
    "std": _numbers | st.tuples(_numbers, _numbers, _numbers),
    "channel_order": st.sampled_from(["RGB", "BGR"]),
    "value_range": st.sampled_from([1.0, 255.0]),
    "crop_fraction": st.floats(0.1, 1).map(lambda value: round(value, 4)),
    "num_classes": st.integers(1, 10**6),
    "weights": st.from_regex(r"[a-z/_.=-]+[a-z]", fullmatch=True),
}


def _written(key: str, value: object) -> str:
    if key == "size":
        return "x".join(map(str, value))  # type: ignore[call-overload]
    return ",".join(map(repr, value)) if isinstance(value, tuple) else str(value)


@settings(derandomize=True, deadline=None)
@given(st.fixed_dictionaries({}, optional=_values).flatmap(lambda made: st.permutations(list(made.items()))))
def test_what_is_written_is_read(pairs):
    text = ",".join(["no/such/model", *(f"{key}={_written(key, value)}" for key, value in pairs)])
    assert read_words(text) == ("no/such/model", dict(pairs))


@settings(derandomize=True, deadline=None)
@given(st.text(max_size=40))
def test_any_text_is_read_or_refused_in_one_line(text):
    try:
        name, options = read_words(text)
    except XkdError as error:
        assert str(error).startswith("model: ") and "\n" not in str(error)
    else:
        assert name.split(",")[0] == text.split(",")[0] and set(options) <= set(_READERS)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            "a,sise=64",
            "is no file, and no model has the option 'sise'; nearest: size; it takes weights, num_classes, output",
        ),
        ("a,zzzz=64", "is no file, and no model has the option 'zzzz'; it takes weights, num_classes, output, size"),
        ("a,=64", "is no file, and no model has the option ''"),
        ("a,size=3,size=4", "'size' is given twice; leave one out"),
        ("a,size=big", "size: got 'big'; expected 224, or 224x320"),
        ("a,size=" + "9" * 5000, "size: got "),
        ("a,size=99999", "size: .* found; expected a side in pixels"),
        ("a,mean=", "mean: got ''; expected numbers"),
        ("a,mean=1,2,std=1,1,1", "mean: .* found; expected one a channel in both"),
        ("a,std=0", "std: 0.0 found; expected numbers above 0"),
        ("a,std=1/0", "std: got '1/0'; expected numbers"),
        ("a,mean=nan", "mean: nan found; expected finite numbers"),
        ("a,resize=fit", "resize: 'fit' found; expected one of squash, crop, squash_crop"),
        ("a,weights=", "weights: nothing behind the sign"),
        ("a,num_classes=0", "num_classes: '0' found; expected a whole number"),
    ],
    ids=lambda text: text[:20],
)
def test_what_is_not_understood_is_one_line(model, message):
    with pytest.raises(XkdError, match=f"^model: .*{message}") as caught:
        read_words(model)
    assert "\n" not in str(caught.value)
