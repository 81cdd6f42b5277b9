"""protocol.json and summary.json: typed, with a digest that tells when one was changed after it was written."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from xkd_eval.digests import digest_of
from xkd_eval.errors import XkdError
from xkd_eval.evaluations.base import Evaluation
from xkd_eval.evaluations.protocol import Rules, of_label_sets
from xkd_eval.evaluations.scores import ScoreSpec
from xkd_eval.evaluations.shipped import SHIPPED
from xkd_eval.files import replacing
from xkd_eval.foreign import json_schema, parsed, read_json, short

PROTOCOL_SCHEMA = "xkd-eval/protocol/4"
SUMMARY_SCHEMA = "xkd-eval/summary/7"

COLUMN = ("model", "explainer", "precision", "engine")
"""What is recorded of one model's results, beside the rules that all share."""

_Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
_Hash = Annotated[str, Field(pattern="^[0-9a-f]{12}$")]
_Precision = Literal["fp32", "tf32", "bf16"]


class OtherReleaseError(XkdError):
    """A record that another release wrote."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


class _Open(BaseModel):
    """With plain values beside those that are named."""

    model_config = ConfigDict(frozen=True, strict=True, extra="allow")
    __pydantic_extra__: dict[str, JsonValue]


class Protocol(_Open):
    """The rules of a test under their own names, and the digits of their hash."""

    name: str
    hash: _Hash


class ProtocolName(_Record):
    """Results are comparable where the hash is equal, the data's digest, and the content hashes in the rows."""

    name: str
    hash: _Hash


class Model(_Record):
    """What answered."""

    name: str
    digest: _Digest
    preprocess: dict[str, JsonValue]
    num_classes: int = Field(ge=1)


class OtherModel(_Record):
    """A model whose maps are scored while another answers."""

    name: str
    digest: _Digest
    preprocess: dict[str, JsonValue]


class Explainer(_Open):
    """What made the maps, with its options; the name is "none" for a test without maps."""

    name: str
    of: OtherModel | None = Field(None, description="The other model in a crossing.")


class Reference(OtherModel):
    """The model that another is held against, for a test that needs one."""

    explainer: Explainer


class Engine(_Record):
    """What ran the forwards of images that the test made, torch where it made none; or the engine of the model's own
    file."""

    name: str
    version: str


class Boxes(_Record):
    """The file of boxes that the images were given: a digest over those of the set, and how many images it names that
    the set lacks."""

    digest: _Digest
    unknown: int = Field(ge=0)


class LabelSets(_Record):
    """Photographs that are an image once a label: how many there are, and how many were left out without a label."""

    photographs: int = Field(ge=1)
    unlabelled: int = Field(ge=0)


class Data(_Record):
    """The images: digests over names, labels and sizes, and over the class indices that the labels mean."""

    name: str
    digest: _Digest
    labels_digest: _Digest
    n_images: int = Field(ge=1)
    boxes: Boxes | None = Field(None, description="Of a test that needs them, where a file brings them.")
    label_sets: LabelSets | None = Field(None, description="Where a photograph may hold several classes.")
    url: str | None = Field(
        None,
        description="That they were fetched from, in protocol.json alone: the same images from elsewhere make the same "
        "run.",
    )


class Stopping(_Record):
    """When a test ends before all images are scored: how far the 95 % interval of each headline score may reach to
    either side, in points, and the seed of the images' order."""

    until: float = Field(ge=0)
    seed: int = Field(ge=0)


class Description(_Record):
    """What a run is: protocol.json, but for its digest."""

    schema_: Literal["xkd-eval/protocol/4"] = Field(alias="schema")
    version: str = Field(description="Of this package.")
    protocol: Protocol
    test: str
    model: Model
    explainer: Explainer
    precision: _Precision
    engine: Engine
    settings: dict[str, JsonValue] = Field(description="What decides which columns the rows have.")
    data: Data
    reference: Reference | None = None
    stopping: Stopping | None = None


class SkippedImage(_Record):
    """An image without a score, and why."""

    id: str
    reason: str


class SkippedImages(_Record):
    """Images without a score."""

    count: int = Field(ge=0)
    images: list[SkippedImage]


class Score(_Record):
    """A fraction of 1, unless its test says otherwise, with its 95 % bootstrap interval over images (bias-corrected and
    accelerated, 2,000 resamples). Null where it is undefined; the interval also where a single image defines it."""

    value: float | None
    ci95: tuple[float, float] | None = Field(strict=False)


class Chunks(_Record):
    """Images a forward: of those that a test makes, and photographs of the clean pass and of an explainer."""

    chunk: int = Field(ge=1)
    clean_chunk: int = Field(ge=1)


class Summary(_Open):
    """What a finished run comes to: summary.json, but for its digest.

    Beside what is named here stand the test's scores, nested by their dotted names, and what else it adds.
    """

    schema_: Literal["xkd-eval/summary/7"] = Field(alias="schema")
    test: str
    protocol: ProtocolName
    model: Model
    explainer: Explainer
    reference: Reference | None = None
    precision: _Precision
    engine: Engine
    data: Data
    rows: _Digest = Field(description="Of what it was made of: the images and all that is known of each.")
    n_images: int = Field(ge=1, description="Images scored: those of the set without the skipped ones.")
    degenerate_maps: int = Field(
        ge=0, description="Maps that are constant or not finite; they are scored in the protocol's random order."
    )
    skipped: SkippedImages
    images_per_second: float | None = Field(
        description="Of the last sitting; with `smaller_chunks` the only field in which a resumed run may differ. Null "
        "where nothing was left."
    )
    stopping: Stopping | None = None
    stopped_after: int | None = Field(
        None, ge=1, description="Images that had come when the test ended, skipped ones included, where `stopping` is."
    )
    smaller_chunks: Chunks | None = Field(
        description="Where the memory did not suffice for as many images a forward as protocol.json plans: those that "
        "the last sitting ended with. Rows may then differ in the last bits from those of a run that had it."
    )


def identity_of(description: Mapping[str, Any]) -> str:
    """By what a run is known: the digest of its description, but for where its images were fetched from."""
    return digest_of({**description, "data": without_url(description["data"])})


def without_url(data: Mapping[str, Any]) -> dict[str, Any]:
    """What a description says of data, but for where they were fetched from."""
    return {key: value for key, value in data.items() if key != "url"}


def write_record(path: Path, values: Mapping[str, Any]) -> None:
    """Write plain values with their digest, whole or not at all. NaN is refused; null says undefined."""
    text = json.dumps({**values, "digest": digest_of(values)}, indent=2, allow_nan=False, ensure_ascii=False)
    with replacing(path) as file:
        file.write(f"{text}\n".encode())


def read_record(
    path: Path, kind: type[Description] | type[Summary], remedy: str, argument: str = "output"
) -> dict[str, Any]:
    """The values of a record that is whole, as it was written, and of this release.

    Args:
        path: of protocol.json or summary.json.
        kind: of record.
        remedy: what to do where it is not.
        argument: that named the directory, for the messages.

    Raises:
        XkdError: the message names the file and what is wrong with it.
    """
    what = f"{argument}: {str(path)!r}"
    values = read_json(path, argument, remedy)
    if not isinstance(values, dict):
        raise XkdError(f"{what} is damaged: {short(values)} found, expected an object; {remedy}")
    expected = PROTOCOL_SCHEMA if kind is Description else SUMMARY_SCHEMA
    digest, schema = values.pop("digest", None), values.get("schema")
    former = rf"{expected.rpartition('/')[0]}/\d{{1,3}}"
    if isinstance(schema, str) and schema != expected and re.fullmatch(former, schema, re.ASCII):
        raise OtherReleaseError(f"{what} is of another release ({schema}; this one has {expected}); {remedy}")
    parsed(kind, values, what)
    if digest != digest_of(values):
        raise XkdError(f"{what} was changed after it was written; {remedy}")
    return values


def protocol_schema() -> dict[str, Any]:
    """The JSON schema of protocol.json, as docs/protocol.schema.json holds it."""
    return _published(Description, PROTOCOL_SCHEMA)


def summary_schema(tests: Iterable[type[Evaluation]] = SHIPPED) -> dict[str, Any]:
    """The JSON schema of summary.json, as docs/summary.schema.json holds it.

    Args:
        tests: whose scores it has; another test's may be anything.
    """
    schema = _published(Summary, SUMMARY_SCHEMA)
    schema["$defs"]["Score"] = json_schema(Score)
    known = list(tests)
    others = {"properties": {"test": {"not": {"enum": [test.name for test in known]}}}}
    return {**schema, "oneOf": [*(schema for test in known for schema in _scores_schemas(test)), others]}


def _published(kind: type, name: str) -> dict[str, Any]:
    schema = json_schema(kind)
    schema["properties"]["digest"] = {"description": "In the file: sha256 of the other values.", "type": "string"}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": name, **schema}


def _by_presets(kind: type[Evaluation], rules: Rules) -> list[dict[str, ScoreSpec]]:
    """The scores of a test under each of its presets, by name, the default one first."""
    usual = kind.Options()
    options = [usual, *(replace(usual, preset=name) for name in kind.presets if name != usual.preset)]
    return [{spec.name: spec for spec in kind.create(rules, chosen).specs()} for chosen in options]


def _scores_schemas(kind: type[Evaluation]) -> list[dict[str, Any]]:
    """Of a test's scores; two where it has others on photographs of several classes."""
    made = _by_presets(kind, Rules())
    several = _by_presets(kind, of_label_sets(Rules())) if kind.takes_label_sets else made
    if [list(specs) for specs in made] == [list(specs) for specs in several]:
        return [_scores_schema(kind, made)]
    found = [_scores_schema(kind, made), _scores_schema(kind, several)]
    has_sets = {"required": ["label_sets"]}
    for schema, data in zip(found, ({"not": has_sets}, has_sets), strict=True):
        schema["properties"]["data"] = data
    return found


def _scores_schema(kind: type[Evaluation], made: list[dict[str, ScoreSpec]]) -> dict[str, Any]:
    """Of the scores that a test has under any of its presets; those that it has under each are required."""
    place: dict[str, Any] = {"type": "object", "properties": {"test": {"const": kind.name}}, "required": []}
    for spec in {name: spec for specs in reversed(made) for name, spec in specs.items()}.values():
        inner = place
        *groups, last = spec.name.split(".")
        for group in groups:  # one that a setting leaves out, as a direction, is not required
            inner = inner["properties"].setdefault(group, {"type": "object", "properties": {}, "required": []})
        if all(spec.name in specs for specs in made):
            inner["required"].append(last)
        inner["properties"][last] = _score_schema(spec)
    return place


def _score_schema(spec: ScoreSpec) -> dict[str, Any]:
    described = f"{spec.heading}{f'; {spec.note}' if spec.note else ''}."
    one = {"$ref": "#/$defs/Score"}
    if spec.x is None:
        return {"description": described, **one}
    return {"description": described, "type": "array", "items": one, "minItems": 2}
