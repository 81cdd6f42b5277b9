"""By what plain values are known again, wherever they are written."""

from __future__ import annotations

import hashlib
import json
from typing import Any


def digest_of(values: Any) -> str:
    """sha256, in hexadecimal, of plain values, however their JSON is laid out.

    Raises:
        TypeError: what JSON does not know.
    """
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
