"""Known classes at known places."""

import json

import pytest
from torch import nn

from xkd_eval.classifiers.class_names import class_index_of_wordnet_ids, imagenet_classes, read_class_map
from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.errors import XkdError


@pytest.mark.parametrize(
    ("num_classes", "wordnet_id", "index"),
    [
        (1000, "n01440764", 0),
        (1000, "n15075141", 999),
        (1001, "n01440764", 1),
        (1001, "n15075141", 1000),
        (21842, "n01440764", 0),
        (21841, "n00004475", 0),
        (21843, "n00004475", 0),
        (11821, "n00005787", 0),
        (11221, "n00005787", 0),
    ],
)
def test_known_synsets(num_classes, wordnet_id, index):
    classes = imagenet_classes(num_classes)
    assert classes is not None
    assert len(classes.names) == len(classes.wordnet_ids) == num_classes
    assert classes.wordnet_ids[index] == wordnet_id


def test_names_and_background():
    assert imagenet_classes(1000).names[0] == "tench"
    assert imagenet_classes(1001).names[:2] == ("background", "tench")


@pytest.mark.parametrize("num_classes", [2, 10, 100, 999, 1002])
def test_other_heads_are_no_imagenet(num_classes):
    assert imagenet_classes(num_classes) is None


def test_the_background_class_has_no_wordnet_id():
    names, ids = imagenet_classes(1001)
    classifier = Classifier(
        nn.Identity(), Preprocess(), name="tf", num_classes=1001, class_names=names, wordnet_ids=ids
    )
    indices = class_index_of_wordnet_ids(classifier)
    assert (len(indices), indices["n01440764"]) == (1000, 1)


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("m.csv", "n01440764,0\nn02056570,3\n"),
        ("m.csv", "id,index\nn01440764, 0\n\nn02056570, 3\n"),
        ("m.txt", "n01440764 0\nn02056570 3\n"),
        ("m.tsv", "n01440764\t0\nn02056570\t3"),
        ("m.json", '{"n01440764": 0, "n02056570": 3}'),
    ],
)
def test_class_maps(tmp_path, file, text):
    (tmp_path / file).write_text(text)
    assert read_class_map(tmp_path / file) == {"n01440764": 0, "n02056570": 3}


def test_class_maps_with_names(tmp_path):
    (tmp_path / "m.csv").write_text('a,0,"tench, Tinca tinca"\nb,1,crane\nc,2,crane\n')
    assert read_class_map(tmp_path / "m.csv") == {"a": 0, "b": 1, "c": 2, "tench, Tinca tinca": 0}
    (tmp_path / "m.json").write_text(json.dumps({"0": ["n01440764", "tench"], "1": ["n01443537", "goldfish"]}))
    assert read_class_map(tmp_path / "m.json") == {"n01440764": 0, "tench": 0, "n01443537": 1, "goldfish": 1}
    (tmp_path / "m.json").write_text('["cat", "dog"]')
    assert read_class_map(tmp_path / "m.json") == {"cat": 0, "dog": 1}
    (tmp_path / "m.txt").write_text("tiger cat 282\n")
    assert read_class_map(tmp_path / "m.txt") == {"tiger cat": 282}


@pytest.mark.parametrize(
    ("file", "text", "reason"),
    [
        ("m.csv", "a,0\nb,1\na,2\n", "'a' stands twice, in line 1 of .* and line 3 of"),
        ("m.json", '{"a": 0, "a": 1}', "the key 'a' stands twice"),
        ("m.json", '["a", "b", "a"]', "'a' stands twice, in entry 1 of .* and entry 3 of"),
        ("m.csv", "a,0,b\nb,1,c\n", "'b' is class 1 in line 2 of .* and the name of class 0 in line 1"),
        ("m.csv", 'a,0\n"b,1\n', "line 2 of .* is '\"b,1' .unexpected end"),
        ("m.csv", "a," + "9" * 5000, "class index '999"),
        ("m.json", "[" * 100_000, "is no JSON"),
        ("m.json", '{"a": [0]}', "entry 1 of .* has the class index .0."),
        ("m.csv", "a,0\nb,one\n", "line 2 of .* has the class index 'one'"),
        ("m.csv", "a,0.5\n", "class index '0.5'"),
        ("m.csv", "a,-1\n", "class index '-1'"),
        ("m.json", '{"a": 0.0}', "class index 0.0"),
        ("m.json", '{"a": true}', "class index True"),
        ("m.csv", "a\n", "line 1 .* expected `id,index`"),
        ("m.csv", "", "is empty"),
        ("m.json", "{", "is no JSON"),
        ("m.json", "3", "holds a int"),
    ],
)
def test_wrong_class_maps(tmp_path, file, text, reason):
    (tmp_path / file).write_text(text)
    with pytest.raises(XkdError, match=f"class_map: .*{reason}"):
        read_class_map(tmp_path / file)


def test_a_missing_class_map(tmp_path):
    with pytest.raises(XkdError, match=r"class_map: .*cannot be read"):
        read_class_map(tmp_path / "none.csv")


def test_class_maps_are_utf8(tmp_path):
    (tmp_path / "m.csv").write_bytes(b"caf\xe9,0\n")
    with pytest.raises(XkdError, match=r"class_map: .*cannot be read \('utf-8' codec"):
        read_class_map(tmp_path / "m.csv")
