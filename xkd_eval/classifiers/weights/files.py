"""Weight files as they are found in the wild: read as they were written, without running code that they carry."""

from __future__ import annotations

import argparse
import pickle
import threading
import warnings
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from numpy._core.multiarray import _reconstruct, scalar

from xkd_eval.classifiers.weights.archives import AGAIN, DAMAGED, check_archive, is_archive
from xkd_eval.classifiers.weights.sealed import unsealed
from xkd_eval.errors import XkdError
from xkd_eval.foreign import json_value, open_file, printable, reading, reason

SUFFIXES = (".pt", ".pth", ".th", ".safetensors")

_AS_STATE_DICT = (
    "load it once in an environment that you trust and save its tensors: torch.save(model.state_dict(), 'weights.pt')"
)

# What training scripts put beside their tensors. The functions are named in both spellings because the module moved
# between NumPy 1 and 2.
_SAFE_GLOBALS: list[Any] = [
    argparse.Namespace,
    np.ndarray,
    np.dtype,
    *(
        type(np.dtype(kind))
        for kind in ("bool", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16", "S1", "U1")
    ),
    *((_reconstruct, f"numpy.{core}.multiarray._reconstruct") for core in ("core", "_core")),
    *((scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
]

# torch's list of what may be unpickled, and Python's of warnings, are the process's.
_ONE_AT_A_TIME = threading.Lock()


def read_weight_file(path: Path, argument: str = "weights") -> Any:
    """What a .pt, .pth, .th or .safetensors file holds, on the CPU, with weights_only=True.

    Records of zip archives, which torch.save has written since 2020, are held to their CRC-32, and safetensors of this
    project to their digest; older and other files carry nothing that damage could be told by.

    Args:
        path: the file.
        argument: the option that named it, for the messages.

    Returns:
        What was saved; of safetensors the tensors by name, of those that this project wrote what a checkpoint holds.

    Raises:
        XkdError: missing, no regular file, empty, truncated, damaged, a web page, or something that only runs code
            could read.
    """
    where = f"{argument}: {str(path)!r}"
    try:
        with open_file(path) as file:
            return _read(file, path.suffix, where)
    except XkdError:
        raise
    except FileNotFoundError:
        raise XkdError(f"{where} does not exist") from None
    except (OSError, ValueError, MemoryError) as error:  # ValueError: a name that no file can have
        raise XkdError(f"{where} cannot be read ({reason(error)}); expected a file ({', '.join(SUFFIXES)})") from None


def check_weight_file(path: Path, argument: str) -> None:
    """Hold a file that a library reads by itself to the CRC-32 of its records, where it is there and has any.

    Raises:
        XkdError: damaged.
    """
    if not path.is_file():
        return
    with open_file(path) as file:
        if is_archive(file):
            check_archive(file, f"{argument}: {str(path)!r}")


def _read(file: BinaryIO, suffix: str, where: str) -> Any:
    """One open file for check and reading, so that what is read is what was checked."""
    _refuse_what_is_known(file.read(512), where)
    file.seek(0)
    if suffix == ".safetensors":
        tensors, texts, is_sealed = unsealed(file.read(), where)
        if not is_sealed:
            return tensors
        with reading(f"{where} has metadata that is no JSON", "export it again"):
            # Keys of the seal are not the checkpoint's.
            described = {name: json_value(text) for name, text in texts.items() if "." not in name}
        return {**described, "state_dict": tensors}
    if is_archive(file):
        check_archive(file, where)
    return _unpickled(file, where)


def _refuse_what_is_known(start: bytes, where: str) -> None:
    if not start:
        raise XkdError(f"{where} is empty; {AGAIN}")
    if start.lstrip()[:9].lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        raise XkdError(f"{where} is a web page, not weights; the download needs another address")
    if start.startswith(b"version https://git-lfs"):
        raise XkdError(f"{where} is a Git LFS pointer, not weights; fetch the file with `git lfs pull`")


def _unpickled(file: BinaryIO, where: str) -> Any:
    with reading(f"{where} {DAMAGED}", AGAIN):
        try:
            with _ONE_AT_A_TIME, torch.serialization.safe_globals(_SAFE_GLOBALS), warnings.catch_warnings():
                # torch remarks on an unusual pickle protocol; what it cannot read raises all the same.
                warnings.simplefilter("ignore")
                return torch.load(file, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            raise XkdError(f"{where} {_why_refused(error)}") from None


def _why_refused(error: pickle.UnpicklingError) -> str:
    message = str(error)
    if "truncated" in message or "Ran out of input" in message:
        return f"is truncated; {AGAIN}"
    _, _, after = message.partition("GLOBAL ")
    if not after:
        return f"holds no weights that can be read without running code; {_AS_STATE_DICT}"
    name = printable(after.split()[0].rstrip(".,"), 80)
    return f"holds a pickled object ({name}), which runs code when it is loaded; {_AS_STATE_DICT}"
