"""Peak memory of opening and reading shards and Parquet of 10,000 and of 40,000 images, each in a process of its own.

    python benchmarks/streamed.py

Images are of about 12 KB. Of Parquet there are files with a row group per 1,000 images, and files of one row group that
holds everything, as some writers leave them. Decoded images are thrown away: what is left is what the reader needs. The
memory of the imports alone is taken off.
"""

from __future__ import annotations

import argparse
import io
import multiprocessing
import resource
import sys
import tarfile
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

_SIDE = 64
_DIFFERENT = 50
_IN_A_PART = 1000


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs=2, default=(10_000, 40_000))
    fewer, more = parser.parse_args().images
    print(f"| layout | {fewer:,} images, MiB | {more:,} images, MiB | bytes an image more |\n|---|---:|---:|---:|")
    for layout, write in _LAYOUTS.items():
        few, many = (_measured(write, count) for count in (fewer, more))
        print(f"| {layout} | {few / 2**20:.1f} | {many / 2**20:.1f} | {(many - few) / (more - fewer):,.0f} |")


def _measured(write: Callable[[Path, int], None], n_images: int) -> int:
    with tempfile.TemporaryDirectory() as folder:
        # What writes takes memory too, and on Linux a process begins with the peak of the one that started it.
        _in_own_process(write, Path(folder), n_images)
        return _in_own_process(_peak, folder)


def _in_own_process(function: Callable[..., Any], *arguments: Any) -> Any:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def _peak(folder: str) -> int:
    """Bytes of resident memory, at their most, that opening and reading all images takes."""
    import pyarrow.parquet  # noqa: F401 - taken off with what else is imported

    from xkd_eval.datasets import open_dataset
    from xkd_eval.datasets.loader import stream

    before = _resident()
    dataset = open_dataset(folder)
    for _ in stream(dataset, range(len(dataset)), strict=True):
        pass
    return _resident() - before


def _resident() -> int:
    unit = 1 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _images() -> list[bytes]:
    rng = np.random.default_rng(0)
    found = []
    for _ in range(_DIFFERENT):
        buffer = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (_SIDE, _SIDE, 3), dtype=np.uint8)).save(buffer, "PNG")
        found.append(buffer.getvalue())
    return found


def _write_tar(folder: Path, n_images: int, images_a_shard: int | None = None) -> None:
    images = _images()
    for number, start in enumerate(range(0, n_images, images_a_shard or n_images)):
        with tarfile.open(folder / f"set-{number:03d}.tar", "w") as shard:
            for k in range(start, min(start + (images_a_shard or n_images), n_images)):
                for suffix, content in (("png", images[k % _DIFFERENT]), ("cls", str(k % 1000).encode())):
                    member = tarfile.TarInfo(f"{k:06d}.{suffix}")
                    member.size = len(content)
                    shard.addfile(member, io.BytesIO(content))


def _write_tars(folder: Path, n_images: int) -> None:
    _write_tar(folder, n_images, _IN_A_PART)


def _write_parquet(folder: Path, n_images: int, rows_a_group: int | None = _IN_A_PART) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    images = _images()
    rows: Sequence[dict[str, object]] = [
        {"bytes": images[k % _DIFFERENT] + k.to_bytes(4, "big"), "path": f"{k:06d}.png"} for k in range(n_images)
    ]
    table = pa.table({"image": rows, "label": [k % 1000 for k in range(n_images)]})
    pq.write_table(table, folder / "set.parquet", row_group_size=rows_a_group or n_images)


def _write_one_group(folder: Path, n_images: int) -> None:
    _write_parquet(folder, n_images, None)


_LAYOUTS: dict[str, Callable[[Path, int], None]] = {
    "tar shards of 1,000 images": _write_tars,
    "one tar": _write_tar,
    "Parquet, 1,000 images a row group": _write_parquet,
    "Parquet, one row group": _write_one_group,
}

if __name__ == "__main__":
    main()
