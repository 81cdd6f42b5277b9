"""Files of any number of channels, written by numpy, tifffile and PIL, and damaged."""

import io
import logging
import struct
import tarfile
import threading

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tifffile
from PIL import Image

from tests.datasets.files import encoded, noise
from xkd_eval import open_dataset
from xkd_eval.bands import Bands
from xkd_eval.datasets import tiff
from xkd_eval.datasets.decode import decode_image
from xkd_eval.errors import UnreadableImageError

DEEP = np.random.default_rng(0).integers(0, 256, (24, 32, 5), dtype=np.uint8)
FIRST = np.ascontiguousarray(np.moveaxis(DEEP, 2, 0))  # channels first


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def tif(array: np.ndarray, **options) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, array, **{"photometric": "minisblack", **options})
    return file.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        npy(DEEP),
        npy(np.asfortranarray(DEEP)),
        tif(DEEP, planarconfig="contig"),
        tif(FIRST, planarconfig="separate"),
        tif(FIRST),
        tif(FIRST, compression="zlib", predictor=True),
        tif(DEEP, planarconfig="contig", tile=(16, 16), compression="zlib"),
        tif(FIRST, planarconfig="separate", rowsperstrip=5),
        tif(DEEP, planarconfig="contig", bigtiff=True, byteorder=">"),
        tif(FIRST, photometric=None, imagej=True),
        tif(FIRST, ome=True, metadata={"axes": "CYX"}),
    ],
    ids=["npy", "columns", "contig", "separate", "pages", "deflated", "tiles", "strips", "big-endian", "imagej", "ome"],
)
def test_every_form_holds_the_same_channels(content):
    found = decode_image(content, "x")
    assert isinstance(found, Bands) and found.photograph is None
    assert found.array.dtype == np.uint8
    np.testing.assert_array_equal(found.array, DEEP)


@pytest.mark.parametrize("write", [npy, lambda array: tif(array, planarconfig="contig")], ids=["npy", "tif"])
@pytest.mark.parametrize(
    "stored",
    [DEEP.astype("<u2") * 250, DEEP.astype(">u2") * 250, DEEP / 256, (DEEP / 256).astype("f2")],
    ids=["uint16", "big-endian", "float64", "float16"],
)
def test_finer_values_are_floats_of_which_white_is_1(write, stored):
    found = decode_image(write(stored), "x").array
    white = 65535 if stored.dtype.kind == "u" else 1
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, stored.astype(np.float64) / white, rtol=1e-6)


@pytest.mark.parametrize(("array", "form"), [(noise(), "RGB"), (noise()[:, :, 0], "L")], ids=["rgb", "grey"])
def test_bytes_of_a_photograph_are_the_photograph_that_a_png_is(array, form):
    expected = np.asarray(decode_image(encoded(Image.fromarray(array)), "x"))
    for content in (npy(array), encoded(Image.fromarray(array), "TIFF")):
        found = decode_image(content, "x")
        assert isinstance(found, Image.Image) and found.mode == "RGB"
        np.testing.assert_array_equal(np.asarray(found), expected)


@pytest.mark.parametrize("extra", ["unspecified", "unassalpha"])
@pytest.mark.parametrize("wide", [False, True], ids=["8 bits", "16 bits"])
def test_colours_with_a_fourth_sample_are_a_photograph_and_four_channels(extra, wide):
    stored = DEEP[:, :, :4].astype(np.uint16) * 257 if wide else DEEP[:, :, :4]
    found = decode_image(tif(stored, photometric="rgb", planarconfig="contig", extrasamples=[extra]), "x")
    np.testing.assert_array_equal(np.asarray(found.photograph), DEEP[:, :, :3])
    expected = stored / 65535 if wide else stored
    np.testing.assert_allclose(found.array, expected, rtol=1e-6)


def test_pages_of_colours_are_photographs_of_which_the_first_is_shown():
    pages = np.stack([noise(), noise(seed=1)])
    np.testing.assert_array_equal(np.asarray(decode_image(tif(pages, photometric="rgb"), "x")), noise())


def in_pages(mode: str) -> bytes:
    """Two pages by PIL, the second of which is plain."""
    first = Image.fromarray(noise()).convert("L").convert(mode)
    return encoded(first, "TIFF", save_all=True, append_images=[Image.new(mode, first.size)])


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (in_pages("1"), np.asarray(Image.fromarray(noise()).convert("L").convert("1")) * np.uint8(255)),
        (in_pages("P"), np.asarray(Image.fromarray(noise()).convert("L"))),
        (tif(FIRST, photometric="miniswhite"), 255 - FIRST[0]),
    ],
    ids=["1 bit", "palette", "white-at-0"],
)
def test_pages_that_are_no_channels_are_photographs_of_which_the_first_is_shown(content, expected):
    found = decode_image(content, "x")
    assert isinstance(found, Image.Image)
    np.testing.assert_array_equal(np.asarray(found), np.stack([expected] * 3, 2))


def test_a_smaller_version_of_the_first_page_is_no_channel():
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        writer.write(DEEP, photometric="minisblack", planarconfig="contig", subifds=0)
        writer.write(DEEP[::2, ::2], photometric="minisblack", planarconfig="contig", subfiletype=1)
    np.testing.assert_array_equal(decode_image(file.getvalue(), "x").array, DEEP)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_channels_are_upright_as_photographs_are(orientation):
    options = {"extratags": [(274, "H", 1, orientation, True)], "metadata": None, "planarconfig": "contig"}
    found = decode_image(tif(DEEP, **options), "x").array
    for channel in range(5):
        grey = decode_image(tif(DEEP[:, :, channel], **options | {"planarconfig": None}), "x")
        np.testing.assert_array_equal(found[:, :, channel], np.asarray(grey)[:, :, 0])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (npy(np.array([{}], dtype=object)), "^x: pickled objects found; expected one array of numbers"),
        (npy(np.zeros(4, [("red", "u1")])), "^x: records .*red.* found"),
        (npy(DEEP)[:-1], r"^x: truncated or damaged \(3,839 bytes of values for uint8 of shape \(24, 32, 5\)"),
        (npy(DEEP) + b"x", r"^x: truncated or damaged \(3,841 bytes"),
        (npy(DEEP)[:20], "^x: truncated or damaged"),
        (npy(DEEP)[:6], "^x: truncated or damaged"),
        (npy(DEEP).replace(b"(24, 32, 5), }      ", b"(24, 32, 5000000), }"), "which has 3,840,000,000"),
        (npy(DEEP).replace(b"(24, 32, 5), }", b"(-4, 32, 5), }"), "^x: truncated or damaged"),
        (npy(DEEP[:0]), r"^x: uint8 of shape \(0, 32, 5\) found; expected \(H, W, C\)"),
        (npy(DEEP[None]), r"^x: uint8 of shape \(1, 24, 32, 5\) found"),
        (npy(DEEP.astype(int)), "^x: int64 found; expected uint8, uint16, or floats"),
        (npy(np.full((4, 4, 5), np.nan)), "^x: floats from nan to nan found"),
        (npy(DEEP * 1.0), r"^x: floats from 0 to 255 found; expected 0 to 1, or uint8 or uint16"),
        (tif(DEEP.astype(np.int16), planarconfig="contig"), "^x: int16 found"),
        (tif(DEEP / 1.0, planarconfig="contig"), "^x: floats from 0 to 255 found"),
        (
            tif(DEEP, planarconfig="contig")[:-1],
            r"^x: channels that cannot be read \(pixels that are not in the file\)",
        ),
        (tif(FIRST, compression="zlib")[:-40], "^x: channels that cannot be read"),
        (tif(DEEP, planarconfig="contig", photometric="miniswhite"), "^x: channels .*MINISWHITE.*black at 0"),
    ],
    ids=[
        "pickle",
        "records",
        "cut",
        "longer",
        "header",
        "magic",
        "huge",
        "negative",
        "empty",
        "four-axes",
        "int64",
        "nan",
        "wide",
        "tif-int16",
        "tif-wide",
        "tif-cut",
        "pages-cut",
        "white-at-0",
    ],
)
def test_what_cannot_be_read_says_why_in_one_line(content, message):
    with pytest.raises(UnreadableImageError, match=message) as caught:
        decode_image(content, "x")
    assert "\n" not in str(caught.value)


def test_pages_without_an_end_are_refused():
    content = bytearray(tif(FIRST[:3], metadata=None))
    with tifffile.TiffFile(io.BytesIO(bytes(content))) as file:
        first, last = file.pages[0], file.pages[2]
        (count,) = struct.unpack_from("<H", content, last.offset)
        struct.pack_into("<I", content, last.offset + 2 + 12 * count, first.offset)
    with pytest.raises(UnreadableImageError, match=r"^x: truncated or damaged \((pages without an end|.*circular)"):
        decode_image(bytes(content), "x")


def test_a_strip_that_holds_less_than_it_should_is_refused():
    """A deflated strip of 24 rows in a file that says 25."""
    content = bytearray(tif(DEEP, planarconfig="contig", compression="zlib", metadata=None, rowsperstrip=64))
    for tag in (257, 278):  # rows, and rows a strip
        place = content.index(struct.pack("<H", tag))
        struct.pack_into("<I" if struct.unpack_from("<H", content, place + 2)[0] == 4 else "<H", content, place + 8, 25)
    with pytest.raises(UnreadableImageError, match=r"^x: channels that cannot be read \(.*\(3840,\)"):
        decode_image(bytes(content), "x")


def in_a_thread(told: str) -> None:
    thread = threading.Thread(target=logging.getLogger("tifffile").error, args=(told,))
    thread.start()
    thread.join()


def test_what_another_thread_tells_the_log_is_no_fault_of_this_file(caplog):
    """And it reaches the log, which what is told of this file does not."""
    with tiff._opened(tif(FIRST)):
        in_a_thread("of another file")
    with pytest.raises(ValueError, match=r"^of this file$"), tiff._opened(tif(FIRST)):
        logging.getLogger("tifffile").warning("not even an error")
        logging.getLogger("tifffile").error("of this file")
    logging.getLogger("tifffile").error("of no file")
    assert caplog.messages == ["of another file", "of no file"]


def test_files_read_in_turns_leave_the_log_as_it_was(caplog):
    """One is opened first and closed first, by another thread, while this one reads its own."""
    opened, may_close = threading.Event(), threading.Event()

    def read() -> None:
        with tiff._opened(tif(FIRST)):
            opened.set()
            may_close.wait(60)

    thread = threading.Thread(target=read)
    thread.start()
    opened.wait(60)
    with tiff._opened(tif(FIRST)):
        may_close.set()
        thread.join()
    logging.getLogger("tifffile").error("afterwards")
    logger = logging.getLogger("tifffile")
    assert logger.propagate and caplog.messages == ["afterwards"]


def write_flat(folder):
    (folder / "a.npy").write_bytes(npy(DEEP))


def write_listed(folder):
    (folder / "images").mkdir()
    (folder / "images" / "a.npy").write_bytes(npy(DEEP))
    (folder / "list.csv").write_text("path,label\nimages/a.npy,0\n")
    return folder / "list.csv"


def write_shard(folder):
    """A photograph's features beside it are no image of their own."""
    with tarfile.open(folder / "a.tar", "w") as shard:
        for name, content in [
            ("a.npy", npy(DEEP)),
            ("a.cls", b"0"),
            ("b.jpg", encoded(Image.fromarray(noise()), "JPEG")),
            ("b.npy", npy(DEEP[0])),
            ("b.cls", b"1"),
        ]:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            shard.addfile(member, io.BytesIO(content))


def write_parquet(folder):
    images = pa.array([{"bytes": tif(FIRST), "path": "a.tif"}])
    pq.write_table(pa.table({"image": images, "label": [0]}), folder / "a.parquet")


@pytest.mark.parametrize("write", [write_flat, write_listed, write_shard, write_parquet])
def test_every_layout_holds_such_images(tmp_path, write):
    dataset = open_dataset(write(tmp_path) or tmp_path)
    assert len(dataset) == (2 if write is write_shard else 1)
    np.testing.assert_array_equal(dataset.load(0).image.array, DEEP)
    if write is write_shard:
        assert isinstance(dataset.load(1).image, Image.Image)
