"""What was written is what is read: run directories that were damaged, edited or mixed up are refused; advice works."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import jsonschema
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from xkd_eval import compare, perturbation_test
from xkd_eval.datasets.base import Sample, hash_of
from xkd_eval.datasets.embedded import EmbeddedDataset
from xkd_eval.errors import XkdError
from xkd_eval.study import parts
from xkd_eval.study.directory import read_run
from xkd_eval.study.records import protocol_schema, summary_schema, write_record
from xkd_eval.study.rows import Rows
from xkd_eval.study.tally import Tally

N_IMAGES = 24
RUN = {"limit": N_IMAGES, "batch_size": 8, "figures": False, "direction": "positive", "fractions": (0.5,)}


@pytest.fixture(scope="module")
def images() -> EmbeddedDataset:
    return EmbeddedDataset("test", size=N_IMAGES)


@pytest.fixture(scope="module")
def written(classifier, images, tmp_path_factory) -> Path:
    """A finished run of three parts."""
    path = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(parts, "_ROWS_PER_PART", 8)
        perturbation_test(classifier, images, output=path, **RUN)
    assert len(parts_of(path)) == 3
    return path


@pytest.fixture
def run(written, tmp_path) -> Path:
    """A copy of it, to be damaged."""
    return shutil.copytree(written, tmp_path / "run")


def parts_of(path: Path) -> list[Path]:
    return sorted((path / "rows").glob("*.parquet"))


def edited(file: Path, **values) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


@pytest.fixture
def continued(classifier, images):
    return lambda path, **options: perturbation_test(classifier, images, output=path, **{**RUN, **options})


def test_no_flipped_bit_of_a_part_goes_unnoticed(run):
    generator = random.Random(0)
    part = parts_of(run)[1]
    content = part.read_bytes()
    for _ in range(60):
        place = generator.randrange(len(content))
        part.write_bytes(content[:place] + bytes([content[place] ^ 1 << generator.randrange(8)]) + content[place + 1 :])
        with pytest.raises(
            XkdError, match=rf"^models: '.*{part.name}' is damaged: its content is not what was written"
        ):
            read_run(run)
    part.write_bytes(content)
    read_run(run)


def test_pages_carry_checksums_for_other_readers(run):
    part = parts_of(run)[0]
    content = bytearray(part.read_bytes())
    column = pq.read_metadata(part).row_group(0).column(0)
    content[column.data_page_offset + column.total_compressed_size - 3] ^= 1
    part.write_bytes(content)
    with pytest.raises(OSError, match=r"(?i)crc|checksum"):
        pq.read_table(part, page_checksum_verification=True)


@pytest.mark.parametrize("length", [0, 1, 100])
def test_a_part_that_was_cut_is_scored_again_as_the_error_says(run, written, continued, length):
    part = parts_of(run)[0]
    part.write_bytes(part.read_bytes()[:length])
    with pytest.raises(XkdError, match=r"is damaged.*delete it and run the same command: its images are scored again"):
        continued(run)
    part.unlink()
    assert continued(run).continued == N_IMAGES - 8
    assert read_run(run)[2].table.equals(read_run(written)[2].table)


def test_a_run_whose_part_is_gone_is_unfinished(run, written, continued):
    parts_of(run)[1].unlink()
    with pytest.raises(XkdError, match=r"holds rows of 16 of 24 images; run its test again, which scores the rest"):
        compare([run, written])
    assert continued(run).continued == 16
    assert read_run(run)[2].table.equals(read_run(written)[2].table)
    for ours, theirs in zip(read_run(run)[:2], read_run(written)[:2], strict=True):
        assert ours == theirs or {**ours, "images_per_second": 0} == {**theirs, "images_per_second": 0}


def test_a_part_of_another_run_is_refused(run, continued, tmp_path):
    continued(tmp_path / "other", fill="mean")
    stranger = parts_of(tmp_path / "other")[0]
    parts_of(run)[0].unlink()
    shutil.copy(stranger, run / "rows")
    for read in (read_run, continued):
        with pytest.raises(XkdError, match=rf"{stranger.name}' holds rows of another run; move it elsewhere"):
            read(run)


def test_a_part_by_another_name_is_refused(run, continued):
    part = parts_of(run)[0]
    part.rename(part.with_name(f"part-{'0' * 9}-{'0' * 16}.parquet"))
    with pytest.raises(XkdError, match=r"is damaged"):
        continued(run)
    part.with_name(f"part-{'0' * 9}-{'0' * 16}.parquet").rename(part.with_name("part-copy.parquet"))
    with pytest.raises(XkdError, match=r"'.*part-copy\.parquet' is no part that this tool wrote; move it elsewhere"):
        continued(run)


def test_a_part_of_other_columns_is_named(run, continued):
    part = parts_of(run)[2]
    rows = pq.read_table(part)
    name = rows.schema.metadata[b"xkd-run"].decode()
    part.unlink()
    parts.write_part(run / "rows", rows.drop_columns(["clean_hit"]), name)
    with pytest.raises(XkdError, match=r"have other columns \(\['clean_hit'\]\); delete the one") as caught:
        continued(run)
    odd = next(
        path for path in parts_of(run) if path.name in str(caught.value) and path.name.startswith("part-000000016")
    )
    odd.unlink()
    assert continued(run).continued == 16


def test_a_row_beyond_the_data_set_is_refused(run):
    name = pq.read_schema(parts_of(run)[0]).metadata[b"xkd-run"].decode()
    beyond = parts.identity_table([N_IMAGES], ["more"], [None], ["reason"])
    parts.write_part(run / "rows", beyond, name)
    with pytest.raises(XkdError, match=r"has rows of more than 24 images"):
        read_run(run)


def test_an_edited_summary_is_noticed_and_made_again(run, written, continued):
    summary = json.loads((run / "summary.json").read_text())
    summary["positive"]["auc"]["value"] = 0.99
    (run / "summary.json").write_text(json.dumps(summary))
    with pytest.raises(
        XkdError, match=r"^models: .*summary\.json' was changed after it was written; delete it and run its test"
    ):
        compare([run, written])
    with pytest.raises(
        XkdError, match=r"^output: .*was changed after it was written; delete it and run its test again"
    ):
        continued(run)
    (run / "summary.json").unlink()
    again = continued(run)
    assert again.continued == N_IMAGES and again.summary["positive"] == read_run(written)[1]["positive"]


def test_an_edited_description_is_noticed(run, continued):
    described = json.loads((run / "protocol.json").read_text())
    edited(run / "protocol.json", protocol={**described["protocol"], "fill": "mean"})
    for read in (read_run, continued):
        with pytest.raises(XkdError, match=r"protocol\.json' was changed after it was written"):
            read(run)


@pytest.mark.parametrize(
    ("options", "differing"),
    [
        ({"explainer": "random"}, "explainer, rows"),
        ({"fill": "mean"}, "protocol, rows"),
        ({"precision": "bf16"}, "precision"),
        ({"direction": "negative"}, "rows"),
        ({"fractions": (0.25,)}, "protocol, rows"),
    ],
)
def test_a_summary_of_another_run_is_refused(run, written, continued, tmp_path, options, differing):
    continued(tmp_path / "other", **options)
    shutil.copy(tmp_path / "other" / "summary.json", run)
    for read in (lambda path: compare([path, written]), continued):
        with pytest.raises(XkdError, match=rf"summary\.json' is of another run; these differ: {differing}[,;]"):
            read(run)
    (run / "summary.json").unlink()
    assert continued(run).summary["positive"] == read_run(written)[1]["positive"]


def test_a_summary_of_other_rows_is_refused(run):
    with_digest = json.loads((run / "summary.json").read_text())
    del with_digest["digest"]
    rows = read_run(run)[2].table
    write_record(run / "summary.json", with_digest | {"rows": digest(rows.slice(1))})
    with pytest.raises(XkdError, match=r"these differ: rows; delete it and run its test again"):
        read_run(run)


def test_the_digest_of_rows_is_of_every_value(run):
    rows = read_run(run)[2].table
    for place, name in enumerate(rows.column_names):
        column = pa.chunked_array([rows[name].combine_chunks().take(pa.array([1, 0, *range(2, N_IMAGES)]))])
        swapped = rows.set_column(place, name, column)
        assert (digest(swapped) == digest(rows)) == swapped.equals(rows)
    for end in range(1, N_IMAGES):
        assert digest(rows) == Tally(Rows(lambda end=end: [rows.slice(0, end), rows.slice(end)])).digest


def digest(rows: pa.Table) -> str:
    return Tally(Rows.of(rows)).digest


def test_another_layout_of_the_same_values_is_no_change(run):
    for name in ("protocol.json", "summary.json"):
        file = run / name
        file.write_text(json.dumps(json.loads(file.read_text()), sort_keys=True))
    read_run(run)


@pytest.mark.parametrize("file", ["protocol.json", "summary.json"])
@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"data": None}, "data: None found"),
        ({"data": {"name": "x"}}, "data.digest: missing"),
        ({"model": "resnet"}, "model: 'resnet' found"),
        ({"test": 3}, "test: 3 found"),
        ({"protocol": []}, r"protocol: \[\] found"),
        ({"precision": "fp8"}, "precision: 'fp8' found"),
        ({"schema": {}}, "schema: {} found"),
        ({"schema": "xkd-eval/sweep/1"}, "schema: 'xkd-eval/sweep/1' found"),
        ({"explainer": {"name": None}}, "explainer.name: None found"),
    ],
)
def test_wrong_types_are_one_line(run, file, values, message):
    edited(run / file, **values)
    with pytest.raises(XkdError, match=rf"^models: '.*{file}': {message}") as caught:
        read_run(run)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("file", ["protocol.json", "summary.json"])
@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff", b"null", b"[" * 100_000], ids=range(6))
def test_a_file_that_is_no_record_is_one_line(run, continued, file, content):
    (run / file).write_bytes(content)
    for read in (read_run, continued):
        with pytest.raises(XkdError, match=rf"{file}' is (no JSON|damaged).*; (run|delete|choose)"):
            read(run)


@pytest.mark.parametrize("name", ["rows", "protocol.json", "summary.json"])
def test_what_stands_in_the_place_of_another_kind_is_named(run, continued, name):
    place = run / name
    if name == "rows":
        shutil.rmtree(place)
        place.write_text("")
    else:
        place.unlink()
        place.mkdir()
    with pytest.raises(XkdError, match=rf"^output: '.*{name}' found, which is no (file|directory); move it elsewhere"):
        continued(run)


def test_starting_afresh_leaves_the_rows_that_a_link_leads_to(run, written, continued):
    shutil.rmtree(run / "rows")
    (run / "rows").symlink_to(written / "rows")
    assert continued(run).continued == N_IMAGES
    assert continued(run, overwrite=True).continued == 0
    assert len(parts_of(written)) == 3 and not (run / "rows").is_symlink()


class Pictures(EmbeddedDataset):
    """The embedded images, one of which is another picture under the same name and of the same size."""

    def load(self, position):
        sample = super().load(position)
        if position != 5:
            return sample
        mirrored = Image.fromarray(np.ascontiguousarray(np.asarray(sample.image)[:, ::-1]))
        return Sample(mirrored, sample.mask, boxes=sample.boxes)

    def content_hash(self, position):
        return hash_of(self.load(position))


def test_rows_of_another_picture_of_that_name_are_not_continued(run, classifier, images):
    with pytest.raises(XkdError, match=rf"^data: the image '{images.ids[5]}' is not the one that '.*' holds a row of"):
        perturbation_test(classifier, Pictures("test", size=N_IMAGES), output=run, **RUN)


def test_runs_on_other_pictures_are_not_compared(classifier, images, tmp_path):
    for name, data in (("a", images), ("b", Pictures("test", size=N_IMAGES))):
        perturbation_test(classifier, data, output=tmp_path / name, **RUN)
    with pytest.raises(XkdError, match=rf"cannot be compared; .*the image '{images.ids[5]}'"):
        compare([tmp_path / "a", tmp_path / "b"])


@pytest.mark.parametrize(("name", "schema"), [("protocol", protocol_schema()), ("summary", summary_schema())])
def test_published_schemas_are_those_of_the_types(run, name, schema):
    published = json.loads((Path(__file__).parents[2] / "docs" / f"{name}.schema.json").read_text())
    assert published == schema, "python docs/schemas.py"
    jsonschema.validate(json.loads((run / f"{name}.json").read_text()), schema)


def test_what_could_not_be_read_is_scored_once_it_can(classifier, tmp_path):
    """A folder that goes away in the middle of a run is skipped; the same command makes up for it."""
    for k in range(12):
        place = tmp_path / "data" / f"{k // 6}" / f"{k}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(k).integers(0, 256, (32, 32, 3), np.uint8)).save(place)
    options = {"batch_size": 4, "figures": False}

    def go_away(what, done, total):
        if done == 4:
            (tmp_path / "data" / "1").rename(tmp_path / "away")

    lost = perturbation_test(classifier, tmp_path / "data", output=tmp_path / "run", progress=go_away, **options)
    assert lost.summary["skipped"]["count"] > 0
    (tmp_path / "away").rename(tmp_path / "data" / "1")
    whole = perturbation_test(classifier, tmp_path / "data", output=tmp_path / "whole", **options)
    again = perturbation_test(classifier, tmp_path / "data", output=tmp_path / "run", **options)
    assert again.rows.equals(whole.rows) and again.continued == lost.summary["n_images"]
    assert again.summary | {"images_per_second": 0} == whole.summary | {"images_per_second": 0}
