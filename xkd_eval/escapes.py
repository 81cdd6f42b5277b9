"""Text from outside (names, ids, reasons), as each place that it goes to takes it: as text, and as nothing else."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

# OWASP, "CSV Injection": what a spreadsheet takes for the beginning of a formula, the full-width forms too.
_FULL_WIDTH = "\N{FULLWIDTH EQUALS SIGN}\N{FULLWIDTH PLUS SIGN}\N{FULLWIDTH HYPHEN-MINUS}\N{FULLWIDTH COMMERCIAL AT}"
_FORMULA = tuple("=+-@\t\r\n" + _FULL_WIDTH)
# Joiners belong to the spelling of some scripts.
_HARMLESS = "\N{ZERO WIDTH JOINER}\N{ZERO WIDTH NON-JOINER}"
# An underscore within a word is no emphasis; a full stop makes a link of "www." alone.
_MARKDOWN = re.compile(r"[\\`*{}\[\]<>#|~&$]|(?<![^\W_])_|_(?![^\W_])|(?<=:)/(?=/)|(?<=www)\.", re.IGNORECASE)
_LATEX = {
    "\\": r"\textbackslash{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    # Behind the end of a row these would be an option of it.
    **{sign: f"{{{sign}}}" for sign in "[]*"},
}
_NOT_IN_FILE_NAMES = re.compile(r"[^\w. -]|^[. ]|[. ]$")
_LONGEST = 150  # bytes; with a digest and a suffix it stays below the 255 of most disks


def visible(text: str, keep: str = "") -> str:
    r"""A text whose control, formatting and surrogate characters are spelt out (`\x1b`, `\n`, `\u202e`).

    Such characters steer a terminal, or turn around how a page reads, and some cannot be written as UTF-8.

    Args:
        text: any.
        keep: characters that stay.
    """
    if text.isprintable():
        return text
    return "".join(sign if sign in keep or not _steers(sign) else _spelt(sign) for sign in text)


def csv_text(text: str) -> str:
    """A text that no spreadsheet takes for a formula, or for the end of a row: it is `visible`.

    What begins as a formula does gets a single quote in front.
    """
    return f"'{visible(text)}" if text.startswith(_FORMULA) else visible(text)


def csv_bytes(table: pd.DataFrame) -> bytes:
    """A data frame as CSV in UTF-8; its texts are no formulas, its numbers stay numbers."""
    safe = table.map(lambda cell: csv_text(cell) if isinstance(cell, str) else cell)
    return safe.to_csv(index=False).encode()


def markdown_text(text: str) -> str:
    """A text that any Markdown renderer shows as it is, on one line, also in a table's cell."""
    return _MARKDOWN.sub(lambda sign: f"\\{sign[0]}", visible(text))


def latex_text(text: str) -> str:
    """A text that LaTeX sets as it is, on one line."""
    return "".join(_LATEX.get(sign, sign) for sign in visible(text))


def file_name(text: str) -> str:
    """A text as the name of a file, without suffix: never a path, and no two texts have one name.

    Letters, digits, spaces, `_`, `-` and inner full stops stay, others are encoded as in an address ("a/b" ->
    "a%2fb"). What is too long is cut and has a digest behind it.
    """
    name = _NOT_IN_FILE_NAMES.sub(_percent, text) or "%"
    start = name.encode()[:_LONGEST].decode(errors="ignore")
    return name if start == name else _told_apart(start, text)


def file_names(texts: Iterable[str]) -> dict[str, str]:
    """`file_name` of each; those that a disk without cases would take for one have a digest behind them."""
    names = {text: file_name(text) for text in texts}
    alike = Counter(_folded(name) for name in names.values())
    return {text: name if alike[_folded(name)] == 1 else _told_apart(name, text) for text, name in names.items()}


def _told_apart(name: str, text: str) -> str:
    # A tilde of the text itself would have been encoded.
    return f"{name}~{hashlib.sha256(text.encode(errors='surrogatepass')).hexdigest()[:12]}"


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _percent(sign: re.Match[str]) -> str:
    return "".join(f"%{byte:02x}" for byte in sign[0].encode(errors="surrogatepass"))


def _steers(sign: str) -> bool:
    return sign not in _HARMLESS and unicodedata.category(sign) in ("Cc", "Cf", "Cs", "Zl", "Zp")


def _spelt(sign: str) -> str:
    return sign.encode("unicode_escape").decode()
