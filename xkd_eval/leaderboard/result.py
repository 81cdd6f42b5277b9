"""Leaderboard: blocks of runs that can be compared, as data frames and as files."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from xkd_eval.arguments import public
from xkd_eval.errors import XkdError
from xkd_eval.escapes import visible
from xkd_eval.files import replacing, writing
from xkd_eval.leaderboard import formats
from xkd_eval.leaderboard.blocks import Block
from xkd_eval.wording import counted

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, repr=False)
class Leaderboard:
    """Finished runs side by side.

    Attributes:
        blocks: of runs that can be compared; each says why it stands apart.
        left_out: a sentence for each run directory that cannot be read.

    Example:
        >>> import tempfile, xkd_eval
        >>> folder = tempfile.mkdtemp()
        >>> _ = xkd_eval.evaluate("embedded/kd", explainers=["cam", "random"], output=folder, limit=8)
        >>> xkd_eval.table(folder)
        <Leaderboard of 2 runs in 1 block>
    """

    blocks: tuple[Block, ...]
    left_out: tuple[str, ...] = ()

    @cached_property
    def scores(self) -> pd.DataFrame:
        """All blocks in one: block, protocol, protocol_hash, data, data_digest, n_images, and the columns of each."""
        import pandas as pd

        tables = []
        for number, block in enumerate(self.blocks, start=1):
            summary = block.entries[0].result.summary
            protocol, data = summary["protocol"], summary["data"]
            facts = {"block": number, "protocol": protocol["name"], "protocol_hash": protocol["hash"]}
            facts |= {
                "data": data["name"],
                "data_digest": data["digest"],
                "n_images": summary.get("stopped_after", data["n_images"]),
            }
            tables.append(block.scores.assign(**facts)[[*facts, *block.scores.columns]])
        return pd.concat(tables, ignore_index=True)

    @public()
    def write(self, path: Path, *, intervals: bool = True) -> None:
        """Write all blocks into one file.

        Args:
            path: .csv (a row a score, fractions of 1), .md, .tex (booktabs) or .html (sorted by a click on a head).
            intervals: with the 95 % intervals; those of .csv are always there.

        Raises:
            XkdError: another ending, or the file cannot be written.
        """
        kinds = {
            ".csv": lambda: formats.csv(self.scores),
            ".md": lambda: formats.markdown(self.blocks, self.left_out, intervals=intervals),
            ".tex": lambda: formats.latex(self.blocks, intervals=intervals),
            ".html": lambda: formats.html(self.blocks, self.left_out, intervals=intervals),
        }
        if path.suffix not in kinds:
            raise XkdError(f"path: {str(path)!r} found; expected a file that ends in {', '.join(kinds)}")
        content = kinds[path.suffix]()
        with writing(f"path: {str(path)!r}"):
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as file:
                file.write(content)

    def __repr__(self) -> str:
        runs = sum(len(block.entries) for block in self.blocks)
        return visible(f"<Leaderboard of {counted(runs, 'run')} in {counted(len(self.blocks), 'block')}>")

    def _repr_html_(self) -> str:
        return formats.fragment(self.blocks, self.left_out, intervals=True)
