"""Image files decoded by several libraries: images a second of each, and whether its pixels are PIL's to the bit.

    python benchmarks/decoding.py --data photographs/ --rounds 5
    python benchmarks/decoding.py --data photographs/ --scaled --rounds 5

The first line decodes each file whole, by one thread: the JPEGs of the folder as they are; and of all its photographs,
brought to 500 x 375 pixels, PNGs and JPEGs of two qualities with and without chroma subsampling. Each library ends in
an image of PIL's, since PIL resizes it next, or with --arrays in an array; those that are not installed are named. The
second measures `data.scaled_decoding`: a training's random crops of 224 pixels, of photographs brought to several
sizes, decoded whole and no larger than the crop needs. Files lie in memory. Every round runs all contestants one after
the other in another order; the processor's own time is taken.
"""

from __future__ import annotations

import argparse
import io
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from race import race, ratio

from distill.data.crops import Crops
from distill.data.views import Views
from distill.recipe.data import WorkerData
from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.datasets.base import ImageDataset, Sample
from xkd_eval.datasets.decode import decode_image

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
IMAGENET = (500, 375)
SIZES = (IMAGENET, (1000, 750), (2000, 1500))
INPUT = 224
SCALE = (0.08, 1.0)
Decode = Callable[[bytes], Any]


def main() -> None:
    """Print Markdown tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a folder of photographs, at any depth")
    parser.add_argument("--limit", type=int, default=40, help="photographs that are brought to a size")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--arrays", action="store_true", help="decode into arrays, and not into images of PIL's")
    parser.add_argument("--scaled", action="store_true", help="of a training's crops, in place of all else")
    given = parser.parse_args()
    torch.set_num_threads(1)
    files = sorted(path for path in given.data.rglob("*") if path.suffix.lower() in SUFFIXES)
    photographs = [Image.open(path).convert("RGB") for path in files[:: max(1, len(files) // given.limit)]]
    if given.scaled:
        _compare_crops(photographs, given.rounds)
    else:
        own = [path.read_bytes() for path in files if path.suffix.lower() in (".jpg", ".jpeg")]
        _compare_libraries(own, photographs, given.rounds, arrays=given.arrays)


def _compare_libraries(own: list[bytes], photographs: list[Image.Image], rounds: int, *, arrays: bool) -> None:
    small = [image.resize(IMAGENET, Image.Resampling.LANCZOS) for image in photographs]
    kinds = {"JPEG as they are": own} if own else {}
    for quality in (75, 95):
        for name, subsampling in (("4:2:0", 2), ("4:4:4", 0)):
            contents = [_stored(image, "JPEG", quality=quality, subsampling=subsampling) for image in small]
            kinds[f"JPEG {quality}, {name}"] = contents
    kinds["PNG"] = [_stored(image, "PNG") for image in small]
    decoders = _decoders(arrays)
    print("\n| files | library | images/s | files that differ from PIL | largest difference | mean |")
    print("|---|---|---:|---:|---:|---:|")
    for kind, contents in kinds.items():
        able = {name: decode for name, decode in decoders.items() if _decodes(decode, contents[0])}
        times = race({name: _timed(decode, contents) for name, decode in able.items()}, rounds)
        for name, decode in able.items():
            apart = [_apart(decode(content), able["PIL"](content)) for content in contents]
            rate = f"{len(contents) / statistics.median(times[name]):.0f} ({ratio(times['PIL'], times[name]):.2f} x)"
            differ, most, mean = sum(most > 0 for most, _ in apart), max(most for most, _ in apart), apart
            said = f"{differ} of {len(apart)} | {most:.0f} | {statistics.mean(value for _, value in mean):.3f}"
            print(f"| {kind} | {name} | {rate} | {said} |", flush=True)
    _compare_odd_files(small[0], decoders)


def _stored(image: Image.Image, kind: str, **options: int) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def _decoders(arrays: bool) -> dict[str, Decode]:
    """By name: the bytes of a file -> RGB as PIL holds it, which resizes it next, or as an array; says which are not
    installed."""
    as_image = Image.fromarray if not arrays else _same
    as_array = np.asarray if arrays else _same
    found: dict[str, Decode] = {
        "PIL": lambda content: as_array(Image.open(io.BytesIO(content)).convert("RGB")),
        "ours: PIL, upright, strict": lambda content: as_array(decode_image(content, "an image")),
    }
    for name, make in (
        ("torchvision.io", _torchvision),
        ("OpenCV", _opencv),
        ("simplejpeg", _simplejpeg),
        ("PyTurboJPEG", _turbojpeg),
    ):
        try:
            found[name] = partial(_then, make(), as_image)
        except (ImportError, RuntimeError, OSError) as error:  # PyTurboJPEG looks for its library when it is made
            print(f"{name}: not here ({str(error).partition(chr(10))[0][:80]})")
    return found


def _same(made: Any) -> Any:
    return made


def _then(decode: Decode, finish: Callable[[Any], Any], content: bytes) -> Any:
    return finish(decode(content))


def _torchvision() -> Decode:
    io_ = import_module("torchvision.io")

    def decode(content: bytes) -> np.ndarray:
        data = torch.frombuffer(bytearray(content), dtype=torch.uint8)
        pixels: np.ndarray = io_.decode_image(data, mode=io_.ImageReadMode.RGB).permute(1, 2, 0).contiguous().numpy()
        return pixels

    return decode


def _opencv() -> Decode:
    cv2 = import_module("cv2")
    cv2.setNumThreads(1)
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    # Not a view of the bytes in reverse, which would be copied pixel by pixel.
    return lambda content: cv2.cvtColor(cv2.imdecode(np.frombuffer(content, np.uint8), flags), cv2.COLOR_BGR2RGB)


def _simplejpeg() -> Decode:
    simplejpeg = import_module("simplejpeg")
    return lambda content: simplejpeg.decode_jpeg(content, "RGB")


def _turbojpeg() -> Decode:
    turbojpeg = import_module("turbojpeg")
    decoder = turbojpeg.TurboJPEG()
    return lambda content: decoder.decode(content, pixel_format=turbojpeg.TJPF_RGB)


def _decodes(decode: Decode, content: bytes) -> bool:
    try:
        decode(content)
    except Exception:  # whatever a library raises; simplejpeg knows JPEGs alone
        return False
    return True


def _apart(ours: Any, theirs: Any) -> tuple[float, float]:
    """Largest and mean difference of a pixel's value; infinite where the sizes differ."""
    ours, theirs = (np.asarray(made).astype(int) for made in (ours, theirs))
    if ours.shape != theirs.shape:
        return np.inf, np.inf
    apart = np.abs(ours - theirs)
    return float(apart.max()), float(apart.mean())


def _compare_odd_files(image: Image.Image, decoders: Mapping[str, Decode]) -> None:
    """What each library makes of files that are not plain: as PIL, otherwise, or refused."""
    whole = _stored(image, "JPEG", quality=90)
    odd = {
        "cut in half": whole[: len(whole) // 2],
        "grey": _stored(image.convert("L"), "JPEG", quality=90),
        "CMYK": _stored(image.convert("CMYK"), "JPEG", quality=90),
        "16-bit grey PNG": _stored(Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257), "PNG"),
    }
    print(f"\n| library | {' | '.join(odd)} |\n|---|{'---|' * len(odd)}")
    for name, decode in decoders.items():
        said = []
        for content in odd.values():
            if not _decodes(decode, content):
                said.append("refused")
            elif not _decodes(decoders["PIL"], content):
                said.append("given")
            else:
                most, _ = _apart(decode(content), decoders["PIL"](content))
                said.append("as PIL" if most == 0 else f"otherwise, by up to {most:.0f}")
        print(f"| {name} | {' | '.join(said)} |")


def _timed(decode: Callable[[bytes], object], contents: Sequence[bytes]) -> Callable[[], float]:
    def run() -> float:
        start = time.process_time()
        for content in contents:
            decode(content)
        return time.process_time() - start

    return run


class _InMemory(ImageDataset):
    """Files as they would lie in a folder."""

    def __init__(self, contents: Sequence[bytes]) -> None:
        self.name, self.ids = "in memory", [str(number) for number in range(len(contents))]
        self.labels = [None] * len(contents)
        self._contents = contents

    def load(self, position: int) -> Sample:
        return Sample(decode_image(self._contents[position], self.ids[position]))


def _compare_crops(photographs: list[Image.Image], rounds: int) -> None:
    views = Views.of(Preprocess(size=(INPUT, INPUT)), [])
    ways = {False: "whole", True: "scaled"}
    crops = {way: Crops(views, WorkerData(loader="workers", scale=SCALE, scaled_decoding=way)) for way in ways}
    print(f"| photographs, crops of {INPUT} px | whole, images/s | scaled | largest mean difference of a crop | mean |")
    print("|---|---:|---:|---:|---:|")
    for size in SIZES:
        contents = [_stored(image.resize(size, Image.Resampling.LANCZOS), "JPEG", quality=90) for image in photographs]
        dataset = _InMemory(contents)
        times = race({ways[way]: _cut(crops[way], dataset) for way in ways}, rounds)
        rates = [len(contents) / statistics.median(times[name]) for name in times]
        apart = [_crops_apart(crops[True], crops[False], dataset, place) for place in range(len(contents))]
        gain = f"{rates[1]:.0f} ({ratio(times['whole'], times['scaled']):.2f} x)"
        said = f"{max(apart):.2f} | {statistics.mean(apart):.2f}"
        print(f"| {size[0]} x {size[1]} | {rates[0]:.0f} | {gain} | {said} |", flush=True)


def _crops_apart(scaled: Crops, whole: Crops, dataset: ImageDataset, place: int) -> float:
    ours, theirs = (crops.of(dataset, place, seed=place)[0].float() for crops in (scaled, whole))
    return float((ours - theirs).abs().mean())


def _cut(crops: Crops, dataset: ImageDataset) -> Callable[[], float]:
    def run() -> float:
        start = time.process_time()
        for place in range(len(dataset)):
            crops.of(dataset, place, seed=place)
        return time.process_time() - start

    return run


if __name__ == "__main__":
    main()
