"""What models are called, and where the names that users and files bring may go."""

import pytest

from xkd_eval.errors import XkdError
from xkd_eval.study.cells import default_directory, safe
from xkd_eval.study.models import name_models, split_name


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


@pytest.mark.parametrize(
    ("models", "names"),
    [
        (["student.pt,size=64"], ["student"]),
        (["kd=student.pt,size=64", "timm/resnet18,weights=mine.pth,size=64"], ["kd", "timm resnet18"]),
        (["kd.pt", "kd.pt,size=64"], ["kd", "kd,size=64"]),
        (["kd.pt,size=64,mean=0.1,0.2,0.3", "a/kd.pt"], ["kd,size=64,mean=0.1,0.2,0.3", "kd"]),
        (["kd.pt,size=64", "kd.pt,size=64"], ["kd", "kd #2"]),
        (["embedded/kd,size=48", "x=embedded/kd,size=64"], ["kd", "x"]),
    ],
    ids=["one", "named", "told apart", "three means", "equal", "embedded"],
)
def test_options_behind_a_name_are_in_it_only_where_they_tell_two_apart(models, names):
    assert [named.name for named in name_models(models)] == names


def test_a_file_is_itself_whatever_its_name_holds(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lr=0.1,wd=0.pt").touch()
    assert split_name("lr=0.1,wd=0.pt") == (None, "lr=0.1,wd=0.pt")
    assert split_name("lr=0.1,wd=0.pt,size=64") == (None, "lr=0.1,wd=0.pt,size=64")
    assert split_name("kd=lr=0.1,wd=0.pt") == ("kd", "lr=0.1,wd=0.pt")
    assert split_name("student.pt,size=64") == (None, "student.pt,size=64")


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
