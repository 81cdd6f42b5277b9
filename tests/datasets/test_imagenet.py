import gzip
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat
from timm.data import ImageNetInfo

from tests.datasets.files import write_image
from tests.datasets.stand_ins import stand_in
from xkd_eval.datasets import imagenet, open_dataset, resolve_labels
from xkd_eval.errors import XkdError

WORDNET_IDS = ("n01440764", "n01443537", "n01484850")
NAMES = [f"ILSVRC2012_val_{number:08d}" for number in (1, 2, 3)]


@pytest.fixture
def flat(tmp_path):
    """val/ with three images, in a folder where label files can be put."""
    for name in NAMES:
        write_image(tmp_path / "set" / "val" / f"{name}.JPEG")
    return tmp_path / "set" / "val"


def write_devkit(folder, lines, wordnet_id_of):
    folder.mkdir(parents=True)
    (folder / "ILSVRC2012_validation_ground_truth.txt").write_text("".join(f"{line}\n" for line in lines))
    synsets = np.zeros(len(wordnet_id_of), dtype=[("ILSVRC2012_ID", "O"), ("WNID", "O"), ("words", "O")])
    for row, (identifier, wordnet_id) in enumerate(wordnet_id_of.items()):
        synsets[row] = (identifier, wordnet_id, "some words")
    savemat(folder / "meta.mat", {"synsets": synsets.reshape(-1, 1)})


def test_class_index_comes_from_the_wordnet_id_and_not_from_the_folder_order(tmp_path):
    for wordnet_id in WORDNET_IDS[1:]:
        write_image(tmp_path / wordnet_id / "a.JPEG")
    dataset = open_dataset(str(tmp_path))
    assert dataset.labels == list(WORDNET_IDS[1:])
    assert resolve_labels(dataset, stand_in(3, wordnet_ids=WORDNET_IDS)) == [1, 2]
    assert resolve_labels(dataset, stand_in(3, wordnet_ids=WORDNET_IDS[::-1])) == [1, 0]


def test_real_incomplete_tree(shared):
    dataset = open_dataset(str(shared / "data" / "imagenet_like" / "val"))
    order = ImageNetInfo("imagenet-1k").label_names()
    labels = resolve_labels(dataset, stand_in(1000, wordnet_ids=tuple(order)))
    assert len(dataset) == 160
    assert [order[label] for label in labels] == [identifier.split("/")[0] for identifier in dataset.ids]
    assert labels == resolve_labels(dataset, stand_in(1000))


def test_real_incomplete_tree_has_the_golden_labels(shared):
    import json

    golden = json.loads((shared / "golden" / "perturbation_lite0.json").read_text())
    dataset = open_dataset(str(shared / "data" / "imagenet_like"))
    label_of = dict(zip(dataset.ids, resolve_labels(dataset, stand_in(1000)), strict=True))
    assert [label_of[identifier] for identifier in golden["images"]] == golden["labels"]


def test_heads_of_more_classes_have_their_own_indices(tmp_path):
    write_image(tmp_path / "n01443537" / "a.JPEG")
    dataset = open_dataset(str(tmp_path))
    assert resolve_labels(dataset, stand_in(4, wordnet_ids=("background", *WORDNET_IDS))) == [2]


def test_folders_below_a_class_and_litter(tmp_path):
    write_image(tmp_path / "n01440764" / "images" / "b.JPEG")
    write_image(tmp_path / "n01440764" / "a.JPEG")
    (tmp_path / "n01440764" / ".DS_Store").write_bytes(b"x")
    (tmp_path / "n01440764" / "Thumbs.db").write_bytes(b"x")
    dataset = open_dataset(str(tmp_path))
    assert dataset.ids == ["n01440764/a.JPEG", "n01440764/images/b.JPEG"]


def test_real_flat_archive_with_a_name_class_list(shared):
    dataset = open_dataset(str(shared / "data" / "imagenet_val" / "val"))
    with gzip.open(shared / "data" / "imagenet_val" / "class_labels.txt.gz", "rt") as lines:
        label_of = dict(line.strip().removeprefix("val/").split(",") for line in lines)
    assert len(dataset) == 11
    assert resolve_labels(dataset, stand_in(1000)) == [int(label_of[identifier]) for identifier in dataset.ids]


def test_ilsvrc_indices_are_mapped_for_a_head_with_another_order(flat):
    (flat.parent / "labels.csv").write_text("".join(f"{name}.JPEG,{index}\n" for index, name in enumerate(NAMES)))
    order = tuple(ImageNetInfo("imagenet-1k").label_names())
    dataset = open_dataset(str(flat))
    assert dataset.labels == [0, 1, 2]
    assert resolve_labels(dataset, stand_in(1001, wordnet_ids=("background", *order))) == [1, 2, 3]
    with pytest.raises(XkdError, match="1001 classes without any; give the `model`"):
        resolve_labels(dataset, stand_in(1001))


def test_kaggle_solution_beside_and_four_folders_up(flat, tmp_path):
    solution = "ImageId,PredictionString\n" + "".join(
        f"{name},{wordnet_id} 1 2 3 4 {wordnet_id} 5 6 7 8 \n"
        for name, wordnet_id in zip(NAMES[::-1], WORDNET_IDS, strict=True)
    )
    (flat / "LOC_val_solution.csv").write_text(solution)
    dataset = open_dataset(str(flat))
    assert dataset.labels == list(WORDNET_IDS[::-1])
    assert all(identifier.endswith(".JPEG") for identifier in dataset.ids)

    kaggle = tmp_path / "kaggle"
    write_image(kaggle / "ILSVRC" / "Data" / "CLS-LOC" / "val" / f"{NAMES[2]}.JPEG")
    (kaggle / "LOC_val_solution.csv").write_text(solution)
    dataset = open_dataset(str(kaggle))
    assert dataset.labels == [WORDNET_IDS[0]]
    assert dataset.name == "kaggle-val"


def test_devkit_ids_are_mapped_through_meta_mat(flat):
    """The devkit's id 1 is not class 0: here it is the third WordNet id."""
    write_devkit(
        flat.parent / "ILSVRC2012_devkit_t12" / "data",
        [2, 1, 3],
        {1: WORDNET_IDS[2], 2: WORDNET_IDS[0], 3: WORDNET_IDS[1]},
    )
    dataset = open_dataset(str(flat))
    assert dataset.labels == [WORDNET_IDS[0], WORDNET_IDS[2], WORDNET_IDS[1]]
    assert resolve_labels(dataset, stand_in(3, wordnet_ids=WORDNET_IDS)) == [0, 2, 1]


def test_devkit_given_by_hand(flat, tmp_path):
    write_devkit(tmp_path / "elsewhere", [1, 1, 1], {1: WORDNET_IDS[1]})
    truth = tmp_path / "elsewhere" / "ILSVRC2012_validation_ground_truth.txt"
    assert open_dataset(str(flat), labels=truth).labels == [WORDNET_IDS[1]] * 3
    (tmp_path / "elsewhere" / "meta.mat").write_bytes(b"cut")
    with pytest.raises(XkdError, match=r"labels: .*meta\.mat' cannot be read"):
        open_dataset(str(flat), labels=truth)
    (tmp_path / "elsewhere" / "meta.mat").unlink()
    with pytest.raises(XkdError, match=r"not class indices, and .*meta\.mat' that maps them is missing"):
        open_dataset(str(flat), labels=truth)


def test_meta_mat_cut_anywhere_is_a_one_line_error(flat, tmp_path):
    write_devkit(tmp_path / "kit", [1, 1, 1], {index: f"n{index:08d}" for index in range(1, 40)})
    meta = tmp_path / "kit" / "meta.mat"
    whole = meta.read_bytes()
    for length in range(0, len(whole) - 1, len(whole) // 25):
        meta.write_bytes(whole[:length])
        with pytest.raises(XkdError, match="labels: "):
            open_dataset(str(flat), labels=tmp_path / "kit" / "ILSVRC2012_validation_ground_truth.txt")


@pytest.mark.parametrize(
    ("name", "text", "kind", "expected"),
    [
        ("val.txt", f"{NAMES[0]}.JPEG 65\n{NAMES[1]}.JPEG 970\n", "index", [65, 970, None]),
        ("list.csv", f"image,label\nval/{NAMES[0]}.JPEG,n01440764\n", "wordnet", ["n01440764", None, None]),
        ("list.tsv", f"{NAMES[1]}\tgreat white shark\n", "name", [None, "great white shark", None]),
        ("quoted.csv", f'{NAMES[1]}.JPEG,"tench, Tinca tinca"\n', "name", [None, "tench, Tinca tinca", None]),
    ],
)
def test_name_class_lists(flat, name, text, kind, expected):
    (flat.parent / name).write_text(text)
    dataset = open_dataset(str(flat))
    assert (dataset.label_kind, dataset.labels) == (kind, expected)


def test_other_text_files_are_no_label_lists(flat):
    (flat.parent / "sizes.csv").write_text(f"{NAMES[0]}.JPEG,500,375\n")
    (flat.parent / "README.txt").write_text("two words\n")
    (flat.parent / "latin.txt").write_bytes(b"caf\xe9 au lait\n")
    dataset = open_dataset(str(flat))
    assert (dataset.label_kind, dataset.labels) == ("none", [None] * 3)


def line(k, label):
    return f"{NAMES[k]}.JPEG,{label}\n"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", line(0, 3) + line(1, 4) + line(0, 3), f"names '{NAMES[0]}' twice, in lines 1 and 3; remove one"),
        ("a.csv", line(0, 3) + line(1, "4,") + line(2, 5), "line 2 .*expected NAME,class.; mend or remove it"),
        ("a.csv", line(0, 3) + line(1, '"4') + line(2, 5), "line 2 of .*(unexpected end of data)"),
        (
            "a.csv",
            line(0, 3) + line(1, "6u") + line(2, 5),
            "line 2 .* has the label '6u', and 2 others are class indic",
        ),
        ("a.csv", (line(0, "tench") + line(1, "caf")).encode() + b"\xe9\n", "cannot be read .*'utf-8' codec"),
        ("a.csv", line(0, "x" * 200_000), "line 1 of .*field larger than field limit"),
        ("a.txt.gz", b"\x1f\x8bno", r"a\.txt\.gz' cannot be read"),
        (
            "a.txt.gz",
            gzip.compress(line(0, 3).encode(), mtime=0)[:-6] + b"\0\0\0\0\0\0",
            "cannot be read .*CRC check failed",
        ),
        ("LOC_val_solution.csv", f"Id,PredictionString\n{NAMES[0]},n00000001 1\n\n", None),
        ("LOC_val_solution.csv", f"Id,PredictionString\n\n{NAMES[0]},n00000001 1\n", "line 2 of .* is ''"),
        ("LOC_val_solution.csv", f"Id,P\n{NAMES[0]},n00000001 1\n" * 2, "line 3 of .*'Id,P'.*expected ImageId"),
    ],
)
def test_a_list_that_is_damaged_names_the_line(flat, name, content, message):
    (flat.parent / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    if message is None:
        assert open_dataset(str(flat)).labels == ["n00000001", None, None]
        return
    with pytest.raises(XkdError, match=rf"(labels|data): .*{message}") as caught:
        open_dataset(str(flat))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("lines", "wordnet_ids", "message"),
    [
        ([1, 2, "2x"], WORDNET_IDS, "line 3 of .* is '2x', which .*meta.mat' does not map"),
        ([1, "", 2, 3], WORDNET_IDS, "line 2 of .* is '', which"),
        ([1, 2], WORDNET_IDS, "has 2 lines, and there is an image 3; fetch it again"),
        ([1, 2, 3], ("n01440764", "n01440764", "words"), "no WordNet id"),
    ],
)
def test_a_devkit_that_is_damaged(flat, lines, wordnet_ids, message):
    write_devkit(flat.parent / "data", lines, dict(enumerate(wordnet_ids, 1)))
    with pytest.raises(XkdError, match=rf"labels: .*{message}"):
        open_dataset(str(flat))


@pytest.mark.parametrize("odd", ["misc", "n99999999"])
def test_folders_are_wordnet_ids_all_or_none(tmp_path, odd):
    for folder in (*WORDNET_IDS, odd):
        write_image(tmp_path / folder / "a.JPEG")
    dataset = open_dataset(str(tmp_path))
    assert (dataset.label_kind, len(dataset), dataset.classes) == ("name", 4, tuple(sorted((*WORDNET_IDS, odd))))
    classifier = stand_in(3, wordnet_ids=WORDNET_IDS)
    assert dict(zip(dataset.labels, resolve_labels(dataset, classifier), strict=True)) == {
        **{wordnet_id: index for index, wordnet_id in enumerate(WORDNET_IDS)},
        odd: None,
    }


def test_an_empty_folder_beside_wordnet_ids_is_nothing_that_is_left_out(tmp_path):
    write_image(tmp_path / WORDNET_IDS[0] / "a.JPEG")
    (tmp_path / "empty").mkdir()
    assert open_dataset(str(tmp_path)).label_kind == "wordnet"


def test_two_lists_ask_for_a_choice(flat):
    for name in ("a.csv", "b.csv"):
        (flat.parent / name).write_text(f"{NAMES[0]}.JPEG,3\n")
    with pytest.raises(XkdError, match=r"labels: .*a\.csv' and .*b\.csv' all label .*; name one"):
        open_dataset(str(flat))
    assert open_dataset(str(flat), labels=flat.parent / "b.csv").labels == [3, None, None]


@pytest.mark.parametrize("text", ["", "other.JPEG,3\n", "no list at all, is it\n"])
def test_a_list_that_names_no_image(flat, tmp_path, text):
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(XkdError, match=r"labels: .*list\.csv' names none of the 3 images"):
        open_dataset(str(flat), labels=tmp_path / "list.csv")


def test_a_missing_list(flat, tmp_path):
    with pytest.raises(XkdError, match=r"labels: .*gone\.csv' cannot be read"):
        open_dataset(str(flat), labels=tmp_path / "gone.csv")


def test_blank_lines_before_a_list_do_not_hide_its_commas(flat):
    lines = "".join(f"{name}.JPEG,{index}\n" for index, name in enumerate(NAMES))
    (flat.parent / "labels.csv").write_text(f"\n \n{lines}")
    for labels in (None, flat.parent / "labels.csv"):
        assert open_dataset(flat, labels=labels).labels == list(range(len(NAMES)))


def test_the_known_classes_are_those_of_timm(monkeypatch):
    named = ("imagenet-1k", "imagenet-12k", "imagenet-21k-miil", "imagenet-21k-goog", "imagenet-22k", "imagenet-22k-ms")
    known = {identifier for name in named for identifier in ImageNetInfo(name).label_names()}
    assert imagenet._known_ids() == known
    monkeypatch.setattr(Path, "is_file", lambda path: False)
    assert imagenet._known_ids.__wrapped__() == known
