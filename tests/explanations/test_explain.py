"""explain takes photos and classes as a caller has them, and refuses what is ambiguous in one sentence."""

import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from xkd_eval import Explanation, Preprocess, explain, load_classifier
from xkd_eval.classifiers.class_names import class_index
from xkd_eval.datasets.embedded import EmbeddedDataset
from xkd_eval.errors import XkdError
from xkd_eval.explanations.photos import as_photo


@pytest.fixture(scope="module")
def student():
    return load_classifier("embedded/kd")


@pytest.fixture(scope="module")
def photo():
    return EmbeddedDataset().load(3).image


def forms(photo, folder):
    """One photo in each form that is taken."""
    path = folder / "photo.png"
    photo.save(path)
    array = np.asarray(photo)
    tensor = torch.from_numpy(array.copy()).permute(2, 0, 1)
    return {
        "path": path,
        "text": str(path),
        "image": photo,
        "array": array,
        "bytes": tensor,
        "floats": tensor / 255,
        "double": tensor.double() / 255,
        "half": (tensor / 255).half(),
    }


def test_every_form_of_a_photo_gives_the_same_map_alone_and_in_a_list(student, photo, tmp_path):
    expected = explain(student, [photo])
    given = forms(photo, tmp_path)
    for form, one in given.items():
        assert np.array_equal(explain(student, one).maps, expected.maps), form
    together = explain(student, list(given.values()))
    assert together.maps.shape == (len(given), *expected.maps.shape[1:])
    assert np.array_equal(together.classes, np.full(len(given), expected.classes[0]))
    np.testing.assert_allclose(together.maps, expected.maps.repeat(len(given), 0), atol=1e-4)
    assert together.names == ("photo.png", "photo.png", *[""] * 6)


def test_stacks_and_generators_are_several_photos(student, photo, tmp_path):
    given = forms(photo, tmp_path)
    for several in (
        np.stack([given["array"]] * 2),
        torch.stack([given["bytes"]] * 2),
        torch.stack([given["floats"]] * 2),
        (given[name] for name in ("path", "array")),
        (photo, photo),
    ):
        assert len(explain(student, several)) == 2


@pytest.mark.parametrize(
    ("images", "reason"),
    [
        ([], "none given; expected at least one photo"),
        (torch.empty(0, 3, 8, 8), "none given"),
        (7, "got a int; expected a path, a PIL image"),
        ([7], "got a int; expected a path, a PIL image"),
        ("missing.jpg", "'missing.jpg' is no file"),
        (".", "'.' is a folder"),
        (np.zeros((8, 8, 3)), r"got a float64 array of shape \(8, 8, 3\); expected \(H, W, 3\) uint8"),
        (np.zeros((8, 8), np.uint8), r"got a uint8 array of shape \(8, 8\)"),
        (np.zeros((3, 8, 8), np.uint8), r"got a uint8 array of shape \(3, 8, 8\)"),
        (torch.zeros(8, 8, 3), r"got a float32 tensor of shape \(8, 8, 3\); expected \(3, H, W\)"),
        (torch.zeros(3, 8, 8, dtype=torch.int64), "got a int64 tensor"),
        (torch.full((3, 8, 8), 200.0), "got floats from 200 to 200; expected RGB in 0 to 1, before normalisation"),
        (torch.linspace(-2, 2, 192).reshape(3, 8, 8), "got floats from -2 to 2"),
        (torch.full((3, 8, 8), torch.nan), "got floats from nan to nan"),
    ],
)
def test_what_is_no_photo_is_refused_in_one_sentence(student, images, reason):
    with pytest.raises(XkdError, match=f"^images: {reason}") as error:
        explain(student, images)
    assert "\n" not in str(error.value)


def test_a_file_that_is_no_image_names_the_argument(student, tmp_path):
    (tmp_path / "a.jpg").write_text("no image")
    with pytest.raises(XkdError, match=r"^images: .*a\.jpg: not an image"):
        explain(student, tmp_path / "a.jpg")


@pytest.mark.parametrize(
    "classes",
    [3, "three", "Three", "3", np.int64(3), [3, "three"], ("3", 3), np.array([3, 3]), torch.tensor([3, 3])],
    ids=repr,
)
def test_a_class_is_an_index_or_a_name_for_all_images_or_one_each(student, photo, classes):
    found = explain(student, [photo, photo], classes)
    assert found.classes.tolist() == [3, 3]
    assert found.classes.dtype == np.int64


@pytest.mark.parametrize(
    ("classes", "reason"),
    [
        (["three"], "got 1 for 2 images; expected one an image"),
        (10, "10 is out of range; embedded/kd has classes 0 to 9"),
        ([3, -1], "-1 is out of range"),
        ("thre", "'thre' is no class of embedded/kd; nearest: three"),
        (3.0, "3.0 found; expected an index, a name or a WordNet id"),
        ([True, False], "True found; expected an index"),
        (torch.tensor([0.5, 1.0]), "0.5 found"),
    ],
)
def test_what_is_no_class_is_refused_in_one_sentence(student, photo, classes, reason):
    with pytest.raises(XkdError, match=f"^classes: {reason}"):
        explain(student, [photo, photo], classes)


@pytest.mark.parametrize("argument", ["ids", "masks"])
def test_what_comes_beside_the_images_comes_once_an_image(student, photo, argument):
    with pytest.raises(XkdError, match=f"^{argument}: got 1 for 2 images"):
        explain(student, [photo, photo], **{argument: {"ids": ["a"], "masks": [np.zeros((64, 64), np.int8)]}[argument]})


def test_classes_go_by_wordnet_ids_and_synonyms():
    classifier = SimpleNamespace(
        name="net",
        num_classes=3,
        class_names=("tench, Tinca tinca", "goldfish", "background"),
        wordnet_ids=("n01440764", "n01443537", ""),
    )
    assert class_index(classifier, "n01443537") == 1
    assert class_index(classifier, "tinca TINCA") == 0
    assert class_index(classifier, " 2 ") == 2
    with pytest.raises(XkdError, match=r"^class: 'goldfsh' is no class of net; nearest: goldfish"):
        class_index(classifier, "goldfsh", "class")
    nameless = SimpleNamespace(name="net", num_classes=3, class_names=None, wordnet_ids=None)
    with pytest.raises(XkdError, match="'cat' is no class of net; they have no names: give an index"):
        class_index(nameless, "cat")


def test_an_explanation_shows_itself(student, photo):
    found = explain(student, [photo] * 6, 8)
    lines = repr(found).split("\n")
    assert lines[0] == "Explanation of 6 images: cam of embedded/kd, maps (6, 10, 10)"
    assert re.fullmatch(r"  image 0: eight, \d+\.\d % \(predicted: three\)", lines[1])
    assert (len(lines), lines[-1]) == (6, "  and 2 more")
    page = found._repr_html_()
    assert "eight" in page and "data:image/png;base64," in page
    assert len(found.plot(colormap="viridis", alpha=0.3).axes) > 6
    with pytest.raises(XkdError, match=r"^colormap: 'nope'"):
        found.plot(colormap="nope")


def test_names_are_escaped_in_a_notebook():
    made = Explanation(
        maps=np.zeros((1, 2, 2), np.float32),
        classes=np.array([0]),
        probabilities=np.array([0.5], np.float32),
        predicted=np.array([0]),
        photos=(Image.new("RGB", (8, 8)),),
        names=("<b>.png",),
        regions=(None,),
        class_names=("<script>",),
        model="m",
        explainer="cam",
    )
    assert "<script>" not in made._repr_html_() and "&lt;b&gt;.png" in made._repr_html_()


def _saved(folder, mode, **options):
    values = np.linspace(0, 1, 40 * 30).reshape(30, 40)
    made = {
        "I;16": lambda: Image.fromarray((values * 65535).astype(np.uint16)),
        "F": lambda: Image.fromarray(values.astype(np.float32)),
    }
    image = made.get(mode, lambda: Image.fromarray((values * 255).astype(np.uint8)).convert("RGB").convert(mode))()
    path = folder / ("x.tif" if mode in ("F", "CMYK", "I;16") else "x.png")
    image.save(path, **options)
    return path


@pytest.mark.parametrize("mode", ["RGB", "L", "LA", "RGBA", "P", "1", "CMYK", "I;16", "F"])
def test_an_image_and_its_path_give_the_same_pixels(tmp_path, mode):
    path = _saved(tmp_path, mode)
    with Image.open(path) as image:
        shown, read = np.asarray(as_photo(image)), np.asarray(as_photo(path))
    assert shown.shape == (30, 40, 3) and (shown == read).all() and len(np.unique(read)) > 1


def test_an_image_is_turned_upright_as_its_path_is(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = _saved(tmp_path, "RGB", exif=exif)
    with Image.open(path) as image:
        shown = as_photo(image)
    assert shown.size == (30, 40) and (np.asarray(shown) == np.asarray(as_photo(path))).all()
    assert as_photo(shown).size == (30, 40), "an image that is upright stays so"


@pytest.mark.parametrize(
    ("images", "reason"),
    [
        (b"bytes", "got a bytes; expected a path"),
        (None, "got a NoneType; expected a path"),
        ({"a": 1}, "got a dict; expected a path"),
        ([], "none given"),
        ([None], "got a NoneType"),
        (np.zeros((0, 4, 3), np.uint8), "got a uint8 array of shape"),
        (np.zeros((4, 4, 3), np.uint16), "got a uint16 array"),
        (torch.zeros(3, 0, 4), "got a float32 tensor of shape"),
        (torch.full((3, 4, 4), float("nan")), "got floats from nan to nan"),
        ("x" * 300, "'x+' is no file"),
        ("a\0b", r"'a\\x00b' is no file"),
        (Image.new("RGB", (0, 0)), "a RGB image: 0x0 pixels"),
        (Image.fromarray(np.full((4, 4), np.nan, np.float32)), "a F image: F image without an RGB form"),
    ],
)
def test_what_holds_no_pixels_is_refused_in_one_sentence(student, images, reason):
    with pytest.raises(XkdError, match=f"^images: {reason}"):
        explain(student, images)


def test_photos_may_come_from_a_generator(student, photo):
    assert len(explain(student, (photo for _ in range(2)), ids=(str(number) for number in range(2)))) == 2


@pytest.mark.parametrize("mask", [np.eye(64, dtype=bool), np.eye(64), np.eye(64, dtype=np.int64), torch.eye(64)])
def test_a_mask_is_taken_whatever_its_type(student, photo, mask):
    expected = explain(student, photo, explainer="oracle", masks=[np.eye(64, dtype=np.int8)]).maps
    assert (explain(student, photo, explainer="oracle", masks=[mask]).maps == expected).all()


@pytest.mark.parametrize(
    ("masks", "reason"),
    [
        ([np.zeros((64, 63), np.int8)], r"that of image 0 has shape \(64, 63\), and its photo \(64, 64\)"),
        ([np.full((64, 64), 255, np.uint8)], "that of image 0 has other values than 1"),
        ([np.full((64, 64), np.nan)], "that of image 0 has other values than 1"),
        ([None], "None found for image 0; expected an"),
        ([], "got 0 for 1 images"),
        (3, "3 found; expected one"),
        (torch.tensor(3), r"tensor\(3\) found; expected one"),
    ],
)
def test_a_mask_that_would_be_misread_is_refused(student, photo, masks, reason):
    with pytest.raises(XkdError, match=f"^masks: {reason}"):
        explain(student, photo, explainer="oracle", masks=masks)


@pytest.mark.parametrize("ids", ["a", [1], b"a", [None]])
def test_ids_are_texts(student, photo, ids):
    with pytest.raises(XkdError, match=r"^ids: .* found; expected texts"):
        explain(student, photo, ids=ids)


def test_what_steers_a_terminal_is_spelt_out_in_an_explanation(student, photo, tmp_path):
    photo.save(tmp_path / "\x1b[31m.png")
    assert r"\x1b[31m.png: " in repr(explain(student, tmp_path / "\x1b[31m.png"))


def test_a_strip_that_its_crop_would_blow_up_is_refused(student):
    crop = Preprocess(resize="crop")
    with pytest.raises(XkdError, match=r"^images: 1x50000 pixels would be scaled to"):
        explain(student, Image.new("RGB", (1, 50_000)), preprocess=crop)


def test_tensors_that_numpy_does_not_have_are_taken_or_refused():
    photo, mask = torch.rand(3, 8, 8), torch.ones(8, 8)
    assert explain("embedded/kd", photo, masks=[mask.bfloat16()]).maps.shape == (1, 10, 10)
    with pytest.raises(XkdError, match=r"^masks: .* found for image 0; expected an \(H, W\) array"):
        explain("embedded/kd", photo, masks=[mask.to_sparse()])
    with pytest.raises(XkdError, match=r"^images: got a float32 tensor of shape"):
        explain("embedded/kd", photo.to_sparse())
    with pytest.raises(XkdError, match=r"^images: got a memoryview; expected a path"):
        explain("embedded/kd", memoryview(np.zeros((8, 8, 3), np.uint8)))


def test_an_empty_path_is_no_folder():
    with pytest.raises(XkdError, match=r"^images: '' found; expected"):
        as_photo("")
