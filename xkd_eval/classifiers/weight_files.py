"""Weight files as they are found in the wild, read without running any code that they carry."""

from __future__ import annotations

import argparse
import pickle
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy._core.multiarray import _reconstruct, scalar

from xkd_eval.errors import XkdError

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


def read_weight_file(path: Path, argument: str = "weights") -> Any:
    """What a .pt, .pth, .th or .safetensors file holds, on the CPU, with weights_only=True.

    Args:
        path: the file.
        argument: the option that named it, for the messages.

    Raises:
        XkdError: missing, a directory, empty, truncated, a web page, or something that only runs code could read.
    """
    _check_file(path, argument)
    if path.suffix == ".safetensors":
        return _read_safetensors(path, argument)
    _refuse_torchscript(path, argument)
    try:
        with torch.serialization.safe_globals(_SAFE_GLOBALS), warnings.catch_warnings():
            # torch remarks on an unusual pickle protocol; what it cannot read raises all the same.
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise XkdError(f"{argument}: {str(path)!r} {_why_refused(error)}") from None
    except (RuntimeError, EOFError, OSError, KeyError, IndexError, ValueError, TypeError, AttributeError):
        # A damaged stream stops the unpickler wherever the damage is, hence so many kinds.
        raise XkdError(f"{argument}: {str(path)!r} is truncated or damaged; copy or download it again") from None


def _check_file(path: Path, argument: str) -> None:
    if path.is_dir():
        raise XkdError(f"{argument}: {str(path)!r} is a directory; expected a file ({', '.join(SUFFIXES)})")
    try:
        with path.open("rb") as file:
            start = file.read(512)
    except FileNotFoundError:
        raise XkdError(f"{argument}: {str(path)!r} does not exist") from None
    except OSError as error:
        raise XkdError(f"{argument}: {str(path)!r} cannot be read: {error.strerror}") from None
    if not start:
        raise XkdError(f"{argument}: {str(path)!r} is empty; copy or download it again")
    if start.lstrip()[:9].lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        raise XkdError(f"{argument}: {str(path)!r} is a web page, not weights; the download needs another address")
    if start.startswith(b"version https://git-lfs"):
        raise XkdError(
            f"{argument}: {str(path)!r} is a Git LFS pointer, not weights; fetch the file with `git lfs pull`"
        )


def _read_safetensors(path: Path, argument: str) -> dict[str, torch.Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except SafetensorError:
        raise XkdError(f"{argument}: {str(path)!r} is no safetensors file, or a truncated one; copy it again") from None


def _refuse_torchscript(path: Path, argument: str) -> None:
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        parts = {name.split("/", 1)[-1] for name in archive.namelist()}
    if "constants.pkl" in parts or any(part.startswith("code/") for part in parts):
        raise XkdError(
            f"{argument}: {str(path)!r} is a TorchScript archive, which runs code when it is loaded; "
            "save its tensors instead: torch.save(torch.jit.load(FILE).state_dict(), 'weights.pt')"
        )
    if not any(part == "data.pkl" for part in parts):
        raise XkdError(f"{argument}: {str(path)!r} is a zip archive without weights in it; {_AS_STATE_DICT}")


def _why_refused(error: pickle.UnpicklingError) -> str:
    message = str(error)
    if "truncated" in message or "Ran out of input" in message:
        return "is truncated; copy or download it again"
    _, _, after = message.partition("GLOBAL ")
    if not after:
        return f"holds no weights that can be read without running code; {_AS_STATE_DICT}"
    return (
        f"holds a pickled object ({after.split()[0].rstrip('.,')}), which runs code when it is loaded; {_AS_STATE_DICT}"
    )
