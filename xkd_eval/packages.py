"""Packages that not everybody needs, asked for where they are."""

from __future__ import annotations

from importlib.util import find_spec

from xkd_eval.errors import XkdError


def require(where: str, extra: str, *packages: str) -> None:
    """Raise XkdError, with the command that installs them, where packages are missing.

    Args:
        where: begins the message.
        extra: of this project, by which they are installed.
        packages: as they are imported.
    """
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        raise XkdError(f"{where} needs {', '.join(missing)}; install with `pip install 'xkd-eval[{extra}]'`")
