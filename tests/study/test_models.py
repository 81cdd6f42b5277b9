"""What models are called, and where the names that users and files bring may go."""

import pytest

from xkd_eval.errors import XkdError
from xkd_eval.study.cells import default_directory, safe
from xkd_eval.study.models import name_models


@pytest.mark.parametrize(
    ("models", "reason"),
    [
        (None, "None found; expected a name, a path"),
        (3.7, "3.7 found"),
        (b"kd", "b'kd' found"),
        ([], "none given"),
        ({}, "none given"),
        (["kd", None], "None found among them"),
        ({3: "kd"}, "one is called 3; expected a text"),
        ({"\udcff": "kd"}, r"one is called '\\udcff'; expected a text"),
        ({"a": None}, "'a': None found"),
        ({"a": []}, "none given for 'a'"),
    ],
)
def test_what_names_no_models_is_refused_in_one_sentence(models, reason):
    with pytest.raises(XkdError, match=f"^models: {reason}"):
        name_models(models)


def test_files_are_called_after_themselves_or_their_run():
    files = ["runs/kd/student.pt", "runs/at/student.onnx", "small.xml", "embedded/kd", "timm/resnet18"]
    assert [named.name for named in name_models(files)] == ["kd", "at", "small", "kd #2", "timm resnet18"]


def test_any_text_may_name_a_model():
    names = ["x" * 300, "..", ".", "a/b", "\x1b[31m", "=1+1", "é"]
    assert [named.name for named in name_models(dict.fromkeys(names, "kd"))] == names
    assert [named.name for named in name_models(["x" * 300, "\udcff"])] == ["x" * 300, r"\udcff"]


@pytest.mark.parametrize("word", ["x" * 300, "猫" * 300, "..", ".", "", "../../x", "/etc", "a\0b", "a\nb", "\udcff"])
def test_a_runs_folder_lies_where_it_should_whatever_it_is_named_after(tmp_path, word):
    described = {
        "test": word,
        "model": {"name": word},
        "explainer": {"name": word, "of": {"name": word}},
        "data": {"name": word},
    }
    folder = default_directory(described, tmp_path)
    folder.mkdir(parents=True)
    assert folder.parent.parent == tmp_path == folder.resolve().parent.parent
    assert len(safe(word).encode()) <= 60
