"""YAML is read as people mean it, and what nobody means is refused in one line, at once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

from distill.recipe.files import load_recipe
from distill.recipe.yaml_text import parse_yaml, read_yaml, yaml_text
from xkd_eval.errors import XkdError

MEANT = {
    "a: 1e3": 1000.0,
    "a: 010": "010",  # octal in YAML 1.1
    "a: 1:30": "1:30",  # 90 there
    "a: 2020-01-01": "2020-01-01",
    "a: -.5": -0.5,
    "a: yes": True,
    "a:": None,
    "a: &b [1]\nc: *b": [1],
}


@pytest.mark.parametrize("text", MEANT)
def test_what_is_meant(text):
    assert repr(parse_yaml(text, "recipe")["a"]) == repr(MEANT[text])


def test_a_key_beside_a_merge_counts():
    assert parse_yaml("a: &a {x: 1, y: 2}\nb: {<<: *a, x: 3}", "recipe")["b"] == {"x": 3, "y": 2}


TEXTS = ["1e3", "010", "1:30", "2020-01-01", "yes", "null", "~", "", "a: b", "1.5", ".inf", "↑", "0x1f", "=", "<<"]
NUMBERS = [1, 1.5, 2e-5, 1e300, 5e-324, True, None, -3, -0.0]


@pytest.mark.parametrize("value", [*TEXTS, *NUMBERS])
def test_what_is_written_is_what_is_read_here_and_by_others(value):
    text = yaml_text({"a": value})
    assert repr(parse_yaml(text, "recipe")) == repr(yaml.safe_load(text)) == repr({"a": value})


BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{level + 1}: &a{level + 1} [{', '.join([f'*a{level}'] * 9)}]\n" for level in range(9)
)
DEEP = "a0: &a0 [x]\n" + "".join(f"a{level + 1}: &a{level + 1} [*a{level}]\n" for level in range(60))

REFUSED = {
    "a: 1\nb: 2\na: 3": "the key 'a' stands twice in line 3; leave one out",
    "a:\n  1: 2": "the key '1' is no text in line 2; put it into quotes",
    "no: 1": "the key 'no' is no text",
    "? [a]\n: 1": "a list or mapping as a key is no text",
    f"{BOMB}epochs: *a9": "more than 100,000 values by aliases in line 6",
    DEEP: "nested more than 50 deep by aliases",
    "&a [*a]": "a value holds itself in line 1",
    "[" * 10_000: "is nested more than 50 deep",
    "- " * 10_000: "is nested more than 50 deep",
    f"a: {'9' * 5000}": "expected a whole number of at most 18 digits",
    "a: .inf": "'.inf' found in line 1; expected a finite number",
    "a: -.nan\nb: .nan": "'.nan' found in line 2",
    "a: 1e400": "'1e400' found in line 1; expected a finite number",
    "!!python/object:os.system x": "the tag 'python/object:os.system' found",
    "!!binary aGk=": "the tag 'binary' found",
    "!!bool maybe": "is no YAML",
    "!!map [1]": "is no YAML ('expected a mapping node, but found sequence' in line 1)",
    'a: "\\0"': "a zero byte",
    'a: "\\ud800"': "half a character",
    "a: \0": "is no YAML",
    "a\n---\nb": "is no YAML ('but found another document' in line 2)",
}


@pytest.mark.parametrize("text", REFUSED, ids=range(len(REFUSED)))
def test_what_nobody_means_is_refused_at_once(text):
    with pytest.raises(XkdError) as caught:
        parse_yaml(text, "recipe: 'a.yaml'")
    message = str(caught.value)
    assert message.startswith("recipe: 'a.yaml'") and REFUSED[text] in message
    assert "\n" not in message and len(message) < 300


def _written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def _link(path: Path) -> Path:
    path.symlink_to(path)
    return path


def _pipe(path: Path) -> Path:
    os.mkfifo(path)
    return path


FILES = {
    "not UTF-8": (lambda path: _written(path, b"a: \xff"), "is no YAML .*; save it as UTF-8"),
    "too large": (
        lambda path: _written(path, b"a: 1\n" * 300_000),
        "cannot be read .1,500,000 bytes, more than 1,048,576",
    ),
    "a directory": (lambda path: path.mkdir() or path, "cannot be read .Is a directory"),
    "a link to itself": (_link, "cannot be read"),
    "a pipe": (_pipe, "cannot be read .a pipe or a device"),
    "an endless device": (lambda path: Path("/dev/zero"), "cannot be read .a pipe or a device"),
    "none": (lambda path: path, "does not exist; give the path of a file"),
    "a zero byte": (lambda path: path.with_name("a\0.yaml"), "cannot be read"),
    "a long name": (lambda path: path.with_name("x" * 300), "cannot be read"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_cannot_be_read_is_one_line(tmp_path, name):
    make, message = FILES[name]
    with pytest.raises(XkdError, match=f"^recipe: .* {message}") as caught:
        read_yaml(make(tmp_path / "a.yaml"), "recipe")
    assert "\n" not in str(caught.value)


WRONG = {
    "recipe: {data: 3}": "mine.yaml: data: 3 found",
    "recipe: {epochs: true}": "mine.yaml: data: missing",
    "extends: mine.yaml": "'mine.yaml' extends itself; mend `extends`",
    "extends: other.yaml": "'mine.yaml' extends itself",
    "extends: [a]": r"extends: \['a'\] found; input should be a valid string",
    "variants: a": "variants: 'a' found; input should be a valid dictionary",
    "variants: {a: 3}": "variants.a: 3 found; input should be a valid dictionary",
    "description: [a]": r"description: \['a'\] found",
    "variants: {../a: {}}": "has a variant '../a'; expected a name without '/'",
    "recipe: [a]": r"recipe: \['a'\] found",
}


@pytest.mark.parametrize("content", WRONG)
def test_files_of_another_kind_are_named(tmp_path, monkeypatch, content):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text(content)
    (tmp_path / "other.yaml").write_text("extends: mine.yaml")
    with pytest.raises(XkdError, match=WRONG[content]):
        load_recipe("mine.yaml")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("epochs=true", "epochs: True found; input should be a valid integer"),
        ("epochs=3.0", "epochs: 3.0 found; input should be a valid integer"),
        ("epochs='3'", "epochs: '3' found; input should be a valid integer"),
        ("epochs=3000000000", "epochs: 3000000000 found; .*less than or equal to 2147483647"),
        ("seed=-1", "seed: -1 found"),
        ("data.flip=1", "data.flip: 1 found; input should be a valid boolean"),
        ("optimiser.learning_rate=true", "optimiser.learning_rate: True found; input should be a valid number"),
        ("losses.ce.weight=-1", "losses.0.weight: -1 found"),
        ("losses.ce.weight=1e-308", "losses.0.weight: 1e-308 found; .*greater than or equal to 0.000001"),
        ("losses.ce.ramp_epochs=2000000000", "losses.0.ramp_epochs: 2000000000 found"),
        ("schedule={name: cosine, warmup_epochs: 1e300}", r"schedule.warmup_epochs: 1e\+300 found"),
        ("clip_norm=1e-300", "clip_norm: 1e-300 found"),
        ("optimiser.learning_rate=1e300", r"optimiser.learning_rate: 1e\+300 found"),
        ("optimiser.weight_decay=1e300", r"optimiser.weight_decay: 1e\+300 found"),
        ("schedule={name: multistep, milestones: [0.5], factor: 1e200}", r"schedule.factor: 1e\+200 found"),
        ("data={loader: workers, scale: [1e-9, 1e-9]}", "data.scale.0: 1e-09 found"),
        ("losses.ce.weight=.nan", "overrides: the value of 'losses.ce.weight=.nan': '.nan' found"),
        ("optimiser={name: sgd, learning_rate: 1, momentum: 0, nesterov: true}", "nesterov: needs a momentum above 0"),
        (f"{'a.' * 5000}b=1", "has 10001 characters; expected a key"),
        (f"losses={'x' * 5000}", "losses: 'xxx"),
    ],
)
def test_values_of_another_kind_are_named(override, message):
    with pytest.raises(XkdError, match=message) as caught:
        load_recipe("ce/cifar10/resnet20", [override])
    assert len(str(caught.value)) < 500


def test_overrides_are_a_list():
    with pytest.raises(XkdError, match="overrides: 'epochs=3' found; expected texts"):
        load_recipe("ce/cifar10/resnet20", "epochs=3")
