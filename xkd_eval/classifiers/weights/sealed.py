"""Safetensors, and those of this project: a digest in their metadata covers every tensor and all other metadata."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from torch import Tensor

from xkd_eval.errors import XkdError
from xkd_eval.foreign import json_value, reading

_OURS = "xkd."  # begins two keys, so that no single fault takes our file for a foreign one without a digest
_FORMAT, _DIGEST = "xkd.format", "xkd.sha256"
_VERSION = "1"
_LENGTH_BYTES = 8


class Tensors(NamedTuple):
    """What a .safetensors file holds.

    Attributes:
        tensors: name to tensor, on the CPU.
        texts: its metadata.
        is_sealed: this project wrote it, and the digest is right.
    """

    tensors: dict[str, Tensor]
    texts: dict[str, str]
    is_sealed: bool


def sealed(tensors: Mapping[str, Tensor], texts: Mapping[str, str]) -> bytes:
    """A .safetensors file with a digest over all that it holds.

    Args:
        tensors: on any device; those that share memory are written each for itself.
        texts: metadata.
    """
    from safetensors.torch import save

    own = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    described = {**texts, _FORMAT: _VERSION}
    header, data = _split(save(own, described))
    return save(own, {**described, _DIGEST: _digest(header, data)})


def unsealed(content: bytes, where: str) -> Tensors:
    """Read a .safetensors file; one of this project's is held to its digest.

    Args:
        content: of the file.
        where: begins the messages: the argument and the file.

    Raises:
        XkdError: no safetensors file, cut, a name that stands twice, or (ours) other bytes than were written.
    """
    from safetensors.torch import load

    with reading(f"{where} is no safetensors file, or a truncated or damaged one", "copy or download it again"):
        header, data = _split(content)
        texts = dict(header.get("__metadata__") or {})
        is_sealed = any(name.startswith(_OURS) for name in texts)
        if is_sealed and (texts.get(_FORMAT), texts.get(_DIGEST)) != (_VERSION, _digest(header, data)):
            raise XkdError(
                f"{where} is damaged: its content is not what its digest was taken of; copy or export it again"
            )
        return Tensors(load(content), texts, is_sealed)


def _split(content: bytes) -> tuple[dict[str, Any], memoryview]:
    """The header, names as they stand there, each once; and the tensors' bytes."""
    length = int.from_bytes(content[:_LENGTH_BYTES], "little")
    if not 0 < length <= len(content) - _LENGTH_BYTES:
        raise ValueError(f"its header is {length} bytes long, the file {len(content)}")
    header = json_value(content[_LENGTH_BYTES : _LENGTH_BYTES + length])
    if not isinstance(header, dict):
        raise ValueError("its header is no object")
    return header, memoryview(content)[_LENGTH_BYTES + length :]


def _digest(header: Mapping[str, Any], data: memoryview) -> str:
    """sha256 over metadata and tensors: names, dtypes, shapes and bytes, in the order of the names."""
    entries = dict(header)
    texts = {name: text for name, text in entries.pop("__metadata__", {}).items() if name != _DIGEST}
    sha = hashlib.sha256(json.dumps(texts, sort_keys=True).encode())
    for name, entry in sorted(entries.items()):
        start, end = entry["data_offsets"]
        sha.update(json.dumps([name, entry["dtype"], entry["shape"], end - start]).encode())
        sha.update(data[start:end])
    return sha.hexdigest()
