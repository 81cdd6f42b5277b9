import io
import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from tests.datasets.files import encoded, noise, plain
from xkd_eval.datasets.decode import decode_image, decode_mask, mask_from_values, upright_rgb
from xkd_eval.errors import UnreadableImageError


def decoded(source) -> np.ndarray:
    image = decode_image(source, "x")
    assert image.mode == "RGB"
    return np.asarray(image)


def test_rgb_is_left_as_it_is():
    pixels = noise()
    np.testing.assert_array_equal(decoded(encoded(Image.fromarray(pixels))), pixels)


@pytest.mark.parametrize("mode", ["L", "1"])
def test_grey_becomes_three_equal_channels(mode):
    grey = Image.fromarray(noise()[:, :, 0]).convert(mode)
    expected = np.asarray(grey).astype(np.uint8) * (255 if mode == "1" else 1)
    np.testing.assert_array_equal(decoded(encoded(grey)), np.stack([expected] * 3, 2))


def test_sixteen_bit_grey_is_scaled_and_not_clipped():
    values = np.array([[0, 257, 128 * 257, 65535]], dtype=np.uint16)
    assert decoded(encoded(Image.fromarray(values)))[0, :, 0].tolist() == [0, 1, 128, 255]


@pytest.mark.parametrize("form", ["TIFF", "PPM"])
def test_thirty_two_bit_integers_of_a_sixteen_bit_image_are_scaled(form):
    image = Image.fromarray(np.array([[0, 65535, 256]], dtype=np.int32), mode="I")
    assert decoded(encoded(image, form))[0, :, 1].tolist() == [0, 255, 1]


def test_sixteen_bit_rgb_keeps_its_high_byte():
    """PIL writes no 16-bit RGB, so the PNG is put together by hand: one row of two pixels."""
    row = struct.pack(">6H", 0, 257, 65535, 512, 40000, 300)
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(b"\0" + row)),
        (b"IEND", b""),
    ]
    png = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )
    assert decoded(png).tolist() == [[[0, 1, 255], [2, 156, 1]]]


def test_floats_in_the_unit_range_are_scaled_and_others_refused():
    unit = Image.fromarray(np.array([[0.0, 0.5, 1.0]], dtype=np.float32))
    assert decoded(encoded(unit, "TIFF"))[0, :, 0].tolist() == [0, 128, 255]
    wide = Image.fromarray(np.array([[0.0, 300.0]], dtype=np.float32))
    with pytest.raises(UnreadableImageError, match=r"x: F image without an RGB form .*outside 0\.\.1"):
        decode_image(encoded(wide, "TIFF"), "x")


def test_cmyk_jpeg_with_adobes_inverted_polarity():
    """Full cyan ink, without the rest: red is absorbed, green and blue stay."""
    cyan = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    content = encoded(cyan, "JPEG", quality=95)
    assert b"Adobe" in content
    np.testing.assert_allclose(decoded(content)[8, 8], (0, 255, 255), atol=3)


def test_alpha_is_dropped_and_not_composited():
    pixels = np.dstack([noise(), np.zeros((24, 32), np.uint8)])
    np.testing.assert_array_equal(decoded(encoded(Image.fromarray(pixels))), pixels[:, :, :3])


def test_grey_with_alpha():
    pixels = noise()[:, :, :2].copy()
    np.testing.assert_array_equal(decoded(encoded(Image.fromarray(pixels, "LA")))[:, :, 2], pixels[:, :, 0])


@pytest.mark.parametrize("transparency", [None, 0, b"\x00\x80\xff"])
def test_palette_with_and_without_transparency(transparency, recwarn):
    image = Image.fromarray(np.array([[0, 1, 2]], dtype=np.uint8), "P")
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    options = {} if transparency is None else {"transparency": transparency}
    assert decoded(encoded(image, **options)).tolist() == [[[255, 0, 0], [0, 255, 0], [0, 0, 255]]]
    assert not [warning for warning in recwarn if "Palette" in str(warning.message)]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation):
    stored = noise(8, 12)
    exif = Image.Exif()
    exif[0x0112] = orientation
    upright = {
        1: stored,
        2: stored[:, ::-1],
        3: stored[::-1, ::-1],
        4: stored[::-1],
        5: stored.transpose(1, 0, 2),
        6: np.rot90(stored, -1),
        7: stored[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(stored, 1),
    }[orientation]
    np.testing.assert_array_equal(decoded(encoded(Image.fromarray(stored), exif=exif)), upright)


def test_broken_exif_does_not_cost_the_image():
    content = encoded(plain(), "JPEG", exif=b"Exif\x00\x00MM\x00*\xff\xff\xff\xff broken")
    assert decoded(content).shape == (6, 8, 3)


@pytest.mark.parametrize(
    ("image", "form"),
    [
        (Image.fromarray(np.array([[0, 257, 65535]], np.uint16)), "PNG"),
        (Image.fromarray(np.array([[0.0, 0.5, 1.0]], np.float32)), "TIFF"),
        (Image.fromarray(noise(4, 6)), "JPEG"),
        (Image.fromarray(noise(4, 6)), "TIFF"),
    ],
)
def test_an_opened_image_gives_what_its_file_gives_however_often(image, form):
    exif = Image.Exif()
    exif[0x0112] = 6
    content = encoded(image, form, exif=exif)
    upright = upright_rgb(Image.open(io.BytesIO(content)), "x")
    assert (upright.width, upright.height) == (image.height, image.width)
    np.testing.assert_array_equal(np.asarray(upright), decoded(content))
    np.testing.assert_array_equal(np.asarray(upright_rgb(upright, "x")), np.asarray(upright))


def test_an_opened_image_stays_as_it_was():
    exif = Image.Exif()
    exif[0x0112] = 3
    opened = Image.open(io.BytesIO(encoded(Image.fromarray(noise()), exif=exif)))
    upright_rgb(opened, "x")
    assert opened.getexif()[0x0112] == 3
    np.testing.assert_array_equal(np.asarray(opened), noise())


def test_an_opened_image_whose_file_is_cut_is_a_one_line_error():
    opened = Image.open(io.BytesIO(cut(encoded(Image.fromarray(noise(200, 200)), "JPEG"))))
    with pytest.raises(UnreadableImageError, match=r"^x: truncated or damaged \(.*\); expected a whole image$"):
        upright_rgb(opened, "x")


def test_a_second_channel_that_is_no_alpha_makes_an_image_of_two_channels():
    content = bytearray(encoded(Image.fromarray(noise()[:, :, :2].copy(), "LA"), "TIFF"))
    extra_samples = content.find(struct.pack("<HH", 338, 3))
    content[extra_samples + 8] = 0  # of no stated meaning
    np.testing.assert_array_equal(decode_image(bytes(content), "x").array, noise()[:, :, :2])


@pytest.mark.parametrize("raised", [RuntimeError, NotImplementedError, KeyError, MemoryError, RecursionError])
def test_whatever_a_plugin_raises_is_an_unreadable_image(monkeypatch, raised):
    def fail(*_):
        raise raised("of the plugin")

    content = encoded(plain())
    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load_prepare", fail)
    with pytest.raises(UnreadableImageError, match=r"x: truncated or damaged \(.*of the plugin"):
        decode_image(content, "x")


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", r"empty file \(0 bytes\)"),
        (b"these are words", "not an image"),
        (b"\xff\xd8\xff\xe0", "not an image|truncated or damaged"),
        (cut(encoded(Image.fromarray(noise(200, 200)), "JPEG")), "truncated or damaged"),
        (cut(encoded(Image.fromarray(noise(200, 200)), "PNG")), "truncated or damaged"),
        (cut(encoded(Image.fromarray(noise(200, 200)), "WEBP", lossless=True)), "truncated or damaged|not an image"),
        (cut(encoded(Image.fromarray(noise(200, 200)), "TIFF")), "truncated or damaged"),
        (cut(encoded(Image.fromarray(noise(200, 200)), "GIF")), "truncated or damaged"),
        (cut(encoded(Image.fromarray(noise(200, 200)), "BMP")), "truncated or damaged"),
    ],
)
def test_what_cannot_be_decoded_says_why_in_one_line(content, reason):
    with pytest.raises(UnreadableImageError, match=rf"^folder/x\.jpg: ({reason})") as caught:
        decode_image(content, "folder/x.jpg")
    assert "\n" not in str(caught.value)


def test_decompression_bomb(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(UnreadableImageError, match="x: too many pixels"):
        decode_image(encoded(plain(size=(30, 30))), "x")


def test_missing_file(tmp_path):
    with pytest.raises(UnreadableImageError, match=r"gone: cannot be read \(No such file"):
        decode_image(tmp_path / "gone.jpg", "gone")


def test_what_is_no_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "self.jpg").symlink_to(tmp_path / "self.jpg")
    for name, reason in (("pipe", "a pipe or a device"), ("folder", "Is a directory"), ("self", "Too many")):
        with pytest.raises(UnreadableImageError, match=rf"^x: cannot be read \({reason}"):
            decode_image(tmp_path / f"{name}.jpg", "x")


def test_truncation_at_any_place_never_raises_anything_else():
    for form in ("JPEG", "PNG", "GIF", "TIFF", "WEBP", "BMP"):
        content = encoded(Image.fromarray(noise(16, 16)), form)
        for length in range(0, len(content), max(len(content) // 40, 1)):
            try:
                decode_image(io.BytesIO(content[:length]).getvalue(), "x")
            except UnreadableImageError:
                continue


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([[0, 255]], [[0, 1]]),
        ([[0, 1]], [[0, 1]]),
        ([[0, 1, 255]], [[0, 1, -1]]),
        ([[0, 7, 128, 255]], [[0, 1, 1, 1]]),
    ],
)
def test_mask_values(values, expected):
    mask = decode_mask(encoded(Image.fromarray(np.array(values, np.uint8))), "x")
    assert mask.dtype == np.int8
    assert mask.tolist() == expected


def test_palette_mask_is_read_by_index_with_255_ignored():
    """PASCAL VOC: class 15 has some colour, 255 is the outline."""
    image = Image.fromarray(np.array([[0, 15, 255]], np.uint8), "P")
    image.putpalette([channel for index in range(256) for channel in (index, 0, 255 - index)])
    assert decode_mask(encoded(image), "x").tolist() == [[0, 1, -1]]


def test_coloured_and_bilevel_masks():
    colours = np.zeros((1, 3, 3), np.uint8)
    colours[0, 1] = (0, 0, 1)
    colours[0, 2] = (200, 0, 0)
    assert decode_mask(encoded(Image.fromarray(colours)), "x").tolist() == [[0, 1, 1]]
    assert decode_mask(encoded(Image.fromarray(np.array([[False, True]]))), "x").tolist() == [[0, 1]]


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (np.zeros((0, 0)), r"float64 of shape \(0, 0\)"),
        (np.zeros((2, 2, 3)), r"of shape \(2, 2, 3\)"),
        (np.array([[0, np.nan]]), "with NaN or infinity"),
        (np.array([["a"]]), "<U1 of shape"),
        (np.zeros((1, 1), complex), "complex128 of shape"),
    ],
)
def test_what_is_no_mask_is_refused(values, reason):
    with pytest.raises(UnreadableImageError, match=f"^x: a mask .*{reason}"):
        mask_from_values(values, "x")
