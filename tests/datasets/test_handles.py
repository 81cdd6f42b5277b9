"""Files of many images that go away, or become others, while they are read."""

import io
import os
import tarfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tests.datasets.files import encoded, noise, write_image, write_mat
from xkd_eval.datasets import loader, open_dataset
from xkd_eval.errors import XkdError


def tar(path, seeds):
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
        for k, seed in enumerate(seeds):
            content = encoded(Image.fromarray(noise(6, 8, seed)), "BMP")
            member = tarfile.TarInfo(f"{k}.bmp")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def parquet(path, seeds):
    pq.write_table(pa.table({"image": [encoded(Image.fromarray(noise(6, 8, seed)), "BMP") for seed in seeds]}), path)


def mat(path, seeds):
    write_mat(path, [noise(6, 8, seed) for seed in seeds], [np.ones((6, 8), np.uint8) for _ in seeds])


@pytest.mark.parametrize(("name", "write"), [("a.tar", tar), ("a.parquet", parquet), ("a.mat", mat)])
@pytest.mark.parametrize("workers", [0, 1])
def test_a_file_that_goes_away_or_changes_ends_the_run_and_is_no_skip_of_every_image(tmp_path, name, write, workers):
    path = tmp_path / name
    write(path, range(400))
    dataset = open_dataset(str(path))
    items = loader.stream(dataset, range(400), workers=workers)
    assert isinstance(next(items), loader.Item)
    path.rename(tmp_path / "away")
    with pytest.raises(XkdError, match=rf"^data: '.*{name}' went away \(No such file or directory\); restore it"):
        list(items)
    write(path, range(1, 401))
    os.utime(path, ns=(1, 1))
    with pytest.raises(XkdError, match=rf"^data: '.*{name}' was changed while it was read; restore it and run the"):
        list(loader.stream(dataset, range(400), workers=workers))
    path.unlink()
    (tmp_path / "away").rename(path)
    assert len(list(loader.stream(dataset, range(400), workers=workers))) == 400


def test_a_folder_that_goes_away_ends_the_run_and_a_single_image_is_skipped(tmp_path):
    for k in range(4):
        write_image(tmp_path / "data" / f"{k}.png")
    dataset = open_dataset(str(tmp_path / "data"))
    (tmp_path / "data" / "1.png").unlink()
    items = loader.stream(dataset, range(4))
    assert [type(next(items)) for _ in range(3)] == [loader.Item, loader.Skipped, loader.Item]
    (tmp_path / "data").rename(tmp_path / "away")
    with pytest.raises(XkdError, match=r"^data: '.*data' went away; restore it and run the same command"):
        next(items)
