"""What readers hold of data that are larger than memory: an index of their images, and one piece of their bytes."""

import tracemalloc

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.datasets.remote.servers import shard
from xkd_eval.datasets import open_dataset, parquet


def test_an_index_of_a_shard_is_small(tmp_path):
    count = 1500
    (tmp_path / "warm.tar").write_bytes(shard(0))
    (tmp_path / "many.tar").write_bytes(shard(0, count))
    open_dataset(tmp_path / "warm.tar")  # imports what it needs
    tracemalloc.start()
    try:
        dataset = open_dataset(tmp_path / "many.tar")
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(dataset) == count
    assert kept / count < 300
    end = 2 * 2**20  # which is looked at for what does not belong there
    assert (peak - end) / count < 700  # 1,500 with tarfile's own list of members


def test_a_row_group_is_read_in_pieces(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "_BYTES_AT_ONCE", 2**20)
    draw = np.random.default_rng(0)
    images = [draw.bytes(10_000) for _ in range(2500)]
    table = pa.table({"image": [{"bytes": image, "path": None} for image in images], "label": range(2500)})
    pq.write_table(table, tmp_path / "set.parquet", row_group_size=2500, write_batch_size=50, use_dictionary=["label"])
    del table
    before, most = pa.total_allocated_bytes(), 0
    dataset = open_dataset(tmp_path / "set.parquet")
    for position in range(2500):
        assert dataset._content(position) == images[position]
        most = max(most, pa.total_allocated_bytes() - before)
    assert most < 6 * 2**20  # of 25 MB
