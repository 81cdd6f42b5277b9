"""What models are called."""

import pytest

from distill.students.names import names_of
from xkd_eval.errors import XkdError


@pytest.mark.parametrize(
    ("models", "names"),
    [
        ("runs/kd/student.pt", ["kd"]),
        (["runs/kd/seed-0/student.pt"], ["kd/seed-0"]),
        (
            ["a/kd/seed-0/student.pt", "a/kd/seed-1/student.pt", "b/at/seed-0/student.pt"],
            ["kd/seed-0", "kd/seed-1", "at/seed-0"],
        ),
        (["a/kd.pt", "b/kd.pt", "x.pt"], ["a/kd", "b/kd", "x"]),
        (["a/kd.pt", "a/small.onnx", "b/student.xml"], ["kd", "small", "b"]),
        (["kd.pt", "./kd.pt", "kd.pt"], ["kd", "kd #2", "kd #3"]),
        (["timm/resnet18", "embedded/kd"], ["timm/resnet18", "embedded/kd"]),
        (["xkd/resnet20", "xkd/resnet20"], ["xkd/resnet20", "xkd/resnet20 #2"]),
        (["small=a/kd.pt", "kd.pt"], ["small", "kd"]),
        ({"one": "kd.pt", "two": "kd.pt"}, ["one", "two"]),
        (["kd=x.pt", "kd.pt"], ["kd", "kd #2"]),
        (["runs/kd/student.pt,size=64", "kd=x.pt,size=64"], ["kd #2", "kd"]),
        ([f"timm/resnet18,weights={file}" for file in "ab"], [f"timm/resnet18,weights={file}" for file in "ab"]),
        (["kd.pt", "kd.pt,size=64"], ["kd", "kd,size=64"]),
        (["kd.pt,size=64", "kd.pt,size=64"], ["kd", "kd #2"]),
    ],
)
def test_names_are_short_and_tell_apart(models, names):
    assert [name for name, _ in names_of(models)] == names


@pytest.mark.parametrize("models", [[], {}, ["a=x.pt", "a=y.pt"], 3, [3], {"": "x"}, {"a": 3}, ["kd.pt", None]])
def test_what_is_no_model_is_refused(models):
    with pytest.raises(XkdError, match=r"^models: "):
        names_of(models)
