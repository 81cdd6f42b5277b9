"""Float32 whose products are made of TF32, which NVIDIA GPUs multiply several times faster."""

from __future__ import annotations

import torch

from xkd_eval.errors import XkdError

_AMPERE = (8, 0)


def check_tf32(device: torch.device) -> None:
    """Raise XkdError unless a device multiplies TF32."""
    is_nvidia = device.type == "cuda" and torch.version.hip is None
    if is_nvidia and torch.cuda.get_device_capability(device) >= _AMPERE:
        return
    found = torch.cuda.get_device_name(device) if device.type == "cuda" else repr(device.type)
    raise XkdError(
        f"precision: tf32 found, and the device is {found}; expected an NVIDIA GPU of Ampere or later; use fp32 or bf16"
    )
