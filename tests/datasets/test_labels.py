import pytest

from tests.datasets.files import write_image
from tests.datasets.stand_ins import stand_in
from xkd_eval import open_dataset
from xkd_eval.classifiers.class_names import read_class_map
from xkd_eval.datasets.base import ImageDataset, Subset
from xkd_eval.datasets.labels import ilsvrc_wordnet_ids, resolve_labels
from xkd_eval.errors import XkdError


class Labels(ImageDataset):
    """Labels without images."""

    def __init__(self, labels, kind, classes=None, ids=None):
        self.name = "labels"
        self.labels = labels
        self.label_kind = kind
        self.classes = classes
        self.ids = ids or [f"image{position}" for position in range(len(labels))]

    def load(self, position):
        raise NotImplementedError


def test_names_ignore_case_and_underscores_and_know_synonyms():
    classifier = stand_in(3, class_names=("maple tree", "Tench, Tinca tinca", "truck"))
    assert resolve_labels(Labels(["maple_tree", "TENCH", "truck"], "name"), classifier) == [0, 1, 2]


def test_a_name_of_two_classes_names_neither():
    """ImageNet has two cranes and two maillots."""
    classifier = stand_in(3, class_names=("crane", "crane", "kite, hawk"))
    assert resolve_labels(Labels(["crane", "kite"], "name"), classifier) == [None, 2]


def test_names_that_differ_in_case_alone_are_those_that_are_written_so():
    classifier = stand_in(2, class_names=("Cat", "cat"))
    assert resolve_labels(Labels(["cat", "Cat", "CAT"], "name"), classifier) == [1, 0, None]


def test_named_folders_in_sorted_order_only_for_a_nameless_head_of_as_many_classes():
    dataset = Labels(["b", "a"], "name", classes=("a", "b"))
    assert resolve_labels(dataset, stand_in(2)) == [1, 0]
    with pytest.raises(XkdError, match="labels has 2 named classes, and stand-in 3 without names"):
        resolve_labels(dataset, stand_in(3))
    with pytest.raises(XkdError, match=r"none of the 2 labels of labels \(a, b, \.\.\.\) is among the 2 classes"):
        resolve_labels(dataset, stand_in(2, class_names=("cat", "dog")))


def test_wordnet_ids_outside_the_head_have_no_label():
    classifier = stand_in(2, wordnet_ids=("n00000001", "n00000002"))
    assert resolve_labels(Labels(["n00000002", "n00000009", None], "wordnet"), classifier) == [1, None, None]
    with pytest.raises(XkdError, match="none of the 1 labels"):
        resolve_labels(Labels(["n00000009"], "wordnet"), classifier)
    with pytest.raises(XkdError, match="has 10 classes without any; give the `model`"):
        resolve_labels(Labels(["n00000009"], "wordnet"), stand_in(10))


def test_indices_hold_as_they_are():
    assert resolve_labels(Labels([2, None, 0], "index"), stand_in(3)) == [2, None, 0]
    assert resolve_labels(Labels([2, 0], "index", ("a", "b", "c")), stand_in(3)) == [2, 0]


def test_indices_are_permuted_where_the_names_say_so():
    dataset = Labels([0, 2], "index", ("cat", "dog", "maple_tree"))
    assert resolve_labels(dataset, stand_in(3, class_names=("Maple tree", "dog", "cat"))) == [2, 0]


def test_indices_are_names_where_the_classes_are_called_by_numbers():
    """Folders that are called 1 to 12, in the order of their texts, and a list of the same images."""
    classifier = stand_in(4, class_names=("1", "10", "2.0", "9"))
    assert resolve_labels(Labels([9, 2, 7, None], "index"), classifier) == [3, 2, None, None]
    assert resolve_labels(Labels([1, 2], "index", classes=("1", "10", "2.0", "9")), classifier) == [1, 2]
    with_zero = Labels([0, 1], "index")
    for labels in (with_zero, Subset(with_zero, [1])):
        with pytest.raises(XkdError, match=r"has the label 0, and the class names .* \(1, 10, 2, \.\.\.\)"):
            resolve_labels(labels, classifier)
    assert resolve_labels(with_zero, classifier, {"0": 3, "1": 0}) == [3, 0]
    assert resolve_labels(Labels([0, 1], "index"), stand_in(2, class_names=("0", "1"))) == [0, 1]
    assert resolve_labels(Labels([0, 1], "index"), stand_in(2, class_names=("1", "0"))) == [1, 0]


def test_names_that_are_worded_differently_keep_the_indices():
    dataset = Labels([0, 1], "index", ("tench, Tinca tinca", "goldfish, Carassius auratus"))
    assert resolve_labels(dataset, stand_in(2, class_names=("tench", "gold fish"))) == [0, 1]


def test_names_without_anything_in_common_are_refused():
    dataset = Labels([0, 1], "index", ("airplane", "bird"))
    with pytest.raises(
        XkdError, match=r"\(airplane, bird, \.\.\.\) and of stand-in \(zero, one, \.\.\.\) have no name"
    ):
        resolve_labels(dataset, stand_in(2, class_names=("zero", "one")))


def test_class_counts_that_do_not_fit_are_refused():
    dataset = Labels([3], "index", tuple(f"class {index}" for index in range(100)))
    with pytest.raises(XkdError, match=r"data: labels has 100 classes, and stand-in 10; give the `model`"):
        resolve_labels(dataset, stand_in(10))


@pytest.mark.parametrize("label", [3, -2])
def test_a_label_out_of_range_names_its_image(label):
    for classes in (None, ("a", "b", "c")):
        with pytest.raises(XkdError, match=f"image image1 of labels has the label {label}, and stand-in knows 0 to 2"):
            resolve_labels(Labels([0, label], "index", classes), stand_in(3, class_names=("c", "b", "a")))


def test_indices_of_unknown_meaning_are_not_guessed_for_a_large_head():
    large = stand_in(1500, wordnet_ids=tuple(f"n{index:08d}" for index in range(1500)))
    with pytest.raises(XkdError, match=r"could be those of ILSVRC-2012.*`class_map`"):
        resolve_labels(Labels([5, 999], "index"), large)
    assert resolve_labels(Labels([5, 1200], "index"), large) == [5, 1200]


def test_indices_of_hub_imagenet_follow_the_head():
    order = ilsvrc_wordnet_ids()
    names = ("tench, Tinca tinca", *(f"class {index}" for index in range(1, 1000)))
    shifted = stand_in(1001, wordnet_ids=("background", *order))
    assert resolve_labels(Labels([0, 999], "index", names), shifted) == [1, 1000]
    assert resolve_labels(Labels([0, 999], "index", names), stand_in(1000)) == [0, 999]


def test_class_map_takes_precedence(tmp_path):
    path = tmp_path / "map.csv"
    path.write_text("n00000009,1\n\n7 0\nmaple_tree,2\ngreat white shark,1\n")
    class_map = read_class_map(path)
    assert class_map == {"n00000009": 1, "7": 0, "maple_tree": 2, "great white shark": 1}
    classifier = stand_in(3, wordnet_ids=("n00000009", "b", "c"))
    assert resolve_labels(Labels(["n00000009", "n00000001"], "wordnet"), classifier, class_map) == [1, None]
    assert resolve_labels(Labels([7], "index"), classifier, class_map) == [0]
    assert resolve_labels(Labels([1], "index", ("oak", "maple_tree")), classifier, class_map) == [2]
    with pytest.raises(XkdError, match="none of the 1 labels"):
        resolve_labels(Labels([4], "index"), classifier, class_map)
    with pytest.raises(XkdError, match="has the label 9, and stand-in knows 0 to 2"):
        resolve_labels(Labels([4], "index"), classifier, {"4": 9})


def test_a_class_map_that_says_two_things_of_a_class():
    dataset = Labels([1], "index", ("oak", "maple_tree"))
    with pytest.raises(XkdError, match=r"class_map: it takes '1' to class 0 and 'maple_tree' to class 2"):
        resolve_labels(dataset, stand_in(3), {"1": 0, "maple_tree": 2})


def test_no_labels_at_all():
    assert resolve_labels(Labels([None, None], "none"), stand_in(3)) == [None, None]


@pytest.mark.parametrize(
    ("folders", "classes", "expected"),
    [
        ("0 1", 2, [0, 1]),
        ("0", 2, [0]),
        ("0 10 2", 12, [0, 10, 2]),
        ("00 07", 12, [0, 7]),
        ("1 2", 2, [0, 1]),  # the sorted folders, of which there are as many as classes
        ("1", 2, None),  # this and the next may count from 1
        ("2 5", 12, None),
        ("0 12", 12, None),
        ("0 a", 12, None),
    ],
)
def test_folders_called_by_number_of_a_model_without_names(tmp_path, folders, classes, expected):
    for folder in folders.split():
        write_image(tmp_path / folder / "a.png")
    dataset = open_dataset(tmp_path)
    if expected is None:
        with pytest.raises(XkdError, match=r"named classes, and stand-in \d+ without names; .* or `class_map`"):
            resolve_labels(dataset, stand_in(classes))
    else:
        assert resolve_labels(dataset, stand_in(classes)) == expected
