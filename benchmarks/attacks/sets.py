"""Files that hold many images: tar shards, Parquet, .mat and the CIFAR archives."""

from __future__ import annotations

import gzip
import io
import pickle
import random
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from attacks.group import BytesGroup, Mutant, group
from attacks.mutants import Files, with_tar_checksums
from attacks.outcome import Found
from attacks.pictures import CLASSES, classifier_of, encoded, found_in, photograph
from xkd_eval import open_dataset


@group
class Tars(BytesGroup):
    """Shards of three images. An archive that is shorter and whole is another one; one that is cut is an error."""

    name, about = "tars", "tar shards with classes as indices and as names, and in two shards"

    def cases(self, folder: Path) -> dict[str, Files]:
        indices = _tar({f"{k}.{suffix}": content for k in range(3) for suffix, content in _member(k, str(k))})
        names = _tar({f"{k}.{suffix}": content for k in range(3) for suffix, content in _member(k, CLASSES[k])})
        bare = _tar({f"{k}.png": encoded(photograph(k), "PNG") for k in range(3)})
        parts = [_tar({f"{k}.{suffix}": content for suffix, content in _member(k, str(k))}) for k in range(2)]
        return {
            "indices": {"a.tar": indices},
            "names": {"a.tar": names},
            "bare": {"a.tar": bare},
            "two": {"a-0.tar": parts[0], "a-1.tar": parts[1]},
        }

    def finished(self, case: str, files: Files, how: str, draw: random.Random) -> tuple[Files, str]:
        if draw.random() < 0.6:
            return files, how
        return {name: with_tar_checksums(content) for name, content in files.items()}, f"{how}, with checksums that fit"

    def read(self, mutant: Mutant, folder: Path) -> Found:
        found, original = super().read(mutant, folder), self.originals[mutant.case]
        lost = set(original.values["ids"]) - set(found.values["ids"])
        if (
            lost
            and len(mutant.files) == len(self.files[mutant.case])
            and not all(map(_is_whole, mutant.files.values()))
        ):
            return Found(found.values, original.identity)
        return found

    def found(self, case: str, folder: Path) -> Found:
        files = sorted(folder.glob("*.tar*"))
        return found_in(open_dataset(files[0] if len(files) == 1 else folder), classifier_of())


@group
class Parquets(BytesGroup):
    """Sets as hubs write them."""

    name, about = "parquets", "Parquet sets: nested and plain columns, compressed, row groups, two shards"

    def cases(self, folder: Path) -> dict[str, Files]:
        hub = {"huggingface": '{"info": {"features": {"label": {"names": ["cat", "dog", "owl"]}}}}'}
        return {
            "hub": {"a.parquet": _parquet(range(4), metadata=hub, row_group_size=2)},
            "plain": {"a.parquet": _parquet(range(3), nested=False, compression="none")},
            "zstd": {"a.parquet": _parquet(range(3), compression="zstd", write_page_checksum=True)},
            "names": {"a.parquet": _parquet(range(3), labels=list(CLASSES[:3]), compression="none")},
            "two": {
                "val-00000-of-00002.parquet": _parquet(range(2)),
                "val-00001-of-00002.parquet": _parquet(range(2, 4)),
            },
        }

    def found(self, case: str, folder: Path) -> Found:
        return found_in(open_dataset(folder), classifier_of(CLASSES[:3] if case == "hub" else CLASSES))


@group
class Mats(BytesGroup):
    """The layout of gtsegs_ijcv.mat."""

    name, about = "mats", "ImageNet-Segmentation's v7.3 .mat, contiguous and compressed"

    def cases(self, folder: Path) -> dict[str, Files]:
        plain, packed = folder / "plain.mat", folder / "packed.mat"
        _write_mat(plain)
        _write_mat(packed, compression="gzip", shuffle=True, fletcher32=True)
        return {path.stem: {"gtsegs_ijcv.mat": path.read_bytes()} for path in (plain, packed)}

    def found(self, case: str, folder: Path) -> Found:
        return found_in(open_dataset(folder), classifier_of())


@group
class Cifars(BytesGroup):
    """The python archives, in folders and packed."""

    name, about = "cifars", "CIFAR-10 and -100 pickles in folders, and .tar.gz packed again after the damage"

    def cases(self, folder: Path) -> dict[str, Files]:
        ten = {
            "batches.meta": pickle.dumps({"label_names": list(CLASSES)}, protocol=2),
            "test_batch": pickle.dumps({b"data": _planes(3), b"labels": [1, 7, 4]}, protocol=2),
        }
        hundred = {
            "meta": pickle.dumps({"fine_label_names": [f"{name}{k}" for k in range(10) for name in CLASSES]}),
            "test": pickle.dumps({"data": _planes(2), "fine_labels": [99, 3]}),
        }
        packed = gzip.compress(_tar({f"cifar-10-batches-py/{name}": content for name, content in ten.items()}))
        return {
            "ten": {f"cifar-10-batches-py/{name}": content for name, content in ten.items()},
            "hundred": {f"cifar-100-python/{name}": content for name, content in hundred.items()},
            "packed": {"cifar-10-python.tar.gz": packed},
            "inside": {"cifar-10-python.tar": gzip.decompress(packed)},
        }

    def finished(self, case: str, files: Files, how: str, draw: random.Random) -> tuple[Files, str]:
        if case != "inside":
            return files, how
        return {
            f"{name}.gz": gzip.compress(content, mtime=0) for name, content in files.items()
        }, f"{how}, packed again"

    def found(self, case: str, folder: Path) -> Found:
        files = [path for path in sorted(folder.iterdir()) if path.name.startswith("cifar")]
        classes = [f"{name}{k}" for k in range(10) for name in CLASSES] if case == "hundred" else CLASSES
        return found_in(open_dataset(files[0] if files else folder), classifier_of(classes))


def _member(k: int, label: str) -> list[tuple[str, bytes]]:
    return [("jpg", encoded(photograph(k), "JPEG", quality=60)), ("cls", label.encode())]


def _tar(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    # Two blocks of zeros end an archive; the eighteen that follow here would take a third of all damage.
    return buffer.getvalue().rstrip(b"\0").ljust(_end_of(members), b"\0")


def _end_of(members: dict[str, bytes]) -> int:
    return sum(512 + -(-len(content) // 512) * 512 for content in members.values()) + 1024


def _is_whole(content: bytes) -> bool:
    """Whether the blocks of an archive follow one another to two blocks of zeros, with nothing behind them."""
    place = 0
    while block := content[place : place + 512]:
        if not any(block):
            return len(content) - place >= 1024 and not any(content[place:])
        try:
            member = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        except tarfile.TarError:
            return False
        place += 512 + -(-member.size // 512) * 512
    return False


def _parquet(
    numbers: Sequence[int],
    *,
    nested: bool = True,
    labels: list[Any] | None = None,
    metadata: Any = None,
    **options: Any,
) -> bytes:
    images = [encoded(photograph(k), "JPEG", quality=60) for k in numbers]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    column = (
        pa.array([{"bytes": content, "path": f"{k}.jpg"} for k, content in zip(numbers, images, strict=True)], kind)
        if nested
        else pa.array(images, pa.binary())
    )
    table = pa.table({"image": column, "label": labels or [k % 3 for k in numbers]}).replace_schema_metadata(metadata)
    buffer = io.BytesIO()
    pq.write_table(table, buffer, **options)
    return buffer.getvalue()


def _write_mat(path: Path, **options: Any) -> None:
    """Column-major, by reference, the masks in cells."""
    with h5py.File(path, "w", userblock_size=512) as file:
        refs = file.create_group("#refs#")
        for name in ("img", "gt"):
            column = file.create_dataset(f"value/{name}", (2, 1), dtype=h5py.ref_dtype)
            for k in range(2):
                pixels = np.asarray(photograph(k))
                entry = pixels if name == "img" else (pixels[:, :, 0] > 128).astype(np.uint8)
                column[k, 0] = refs.create_dataset(f"{name}{k}", data=entry.T, **options).ref
                if name == "gt":
                    cell = refs.create_dataset(f"cell{k}", (1, 1), dtype=h5py.ref_dtype)
                    cell[0, 0] = column[k, 0]
                    column[k, 0] = cell.ref


def _planes(count: int) -> np.ndarray:
    """(N, 3072) uint8 of few different values, so that a pickle is small once it is packed."""
    images = [np.asarray(photograph(k, 32, 32)).transpose(2, 0, 1).reshape(-1) for k in range(count)]
    return np.stack(images)
