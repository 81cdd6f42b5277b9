"""Gate: what a check comes to, as a data frame, as Markdown for a pull request and as JUnit XML."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from xkd_eval.arguments import public
from xkd_eval.comparison.formats import markdown
from xkd_eval.escapes import markdown_text, visible
from xkd_eval.files import replacing, writing
from xkd_eval.gate.junit import junit_xml
from xkd_eval.gate.verdicts import ScoreVerdict, Verdict
from xkd_eval.wording import counted, listed

if TYPE_CHECKING:
    import pandas as pd

_SAID = {"pass": "no worse", "fail": "worse", "undecided": "undecided"}


@dataclass(frozen=True, repr=False)
class Gate:
    """Whether a candidate is no worse than a baseline, score by score.

    Attributes:
        baseline, candidate: names.
        verdicts: one a score.
        n_images: that both score, of every test.
        left_out: a sentence for each test that says nothing of two models.

    Example:
        >>> import xkd_eval
        >>> gate = xkd_eval.check("embedded/kd", "same=embedded/kd", limit=12)
        >>> gate.verdict, set(gate.scores["difference"])
        ('pass', {0.0})
    """

    baseline: str
    candidate: str
    verdicts: tuple[ScoreVerdict, ...]
    n_images: dict[str, int]
    left_out: tuple[str, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """ "fail" where one score is shown to be worse, "pass" where all are shown to be no worse."""
        found = {score.verdict for score in self.verdicts}
        return "fail" if "fail" in found else "undecided" if "undecided" in found else "pass"

    @property
    def needed(self) -> int | None:
        """About how many images would decide; None where they do, or no number is known to.

        One score that is worse decides it, so where some look worse it is the first of these.
        """
        if self.verdict != "undecided":
            return None
        open_ = [score for score in self.verdicts if score.verdict == "undecided"]
        if worse := [score.needed for score in open_ if score.looks_worse and score.needed is not None]:
            return min(worse)
        numbers = [score.needed for score in open_ if score.needed is not None]
        return max(numbers) if len(numbers) == len(open_) else None

    @cached_property
    def scores(self) -> pd.DataFrame:
        """A row a score, with the columns of `ScoreVerdict`: points for shares, others in their own unit."""
        import pandas as pd

        return pd.DataFrame([asdict(score) for score in self.verdicts])

    @property
    def sentence(self) -> str:
        """The verdict in a sentence."""
        worse, open_ = ([score for score in self.verdicts if score.verdict == kind] for kind in ("fail", "undecided"))
        if worse:
            said = listed([f"{score.name} ({number(score, score.difference, '+')})" for score in worse])
            return f"fail: {self.candidate} is worse than {self.baseline} by more than the margin in {said}"
        if open_:
            more = "" if self.needed is None else f"; about {counted(self.needed, 'image')} would"
            said = listed([score.name for score in open_])
            beside = f"whether {self.candidate} is worse than {self.baseline} by more than the margin"
            return f"undecided: the images do not decide {beside} in {said}{more}"
        scores = f"all {counted(len(self.verdicts), 'score')}" if len(self.verdicts) > 1 else self.verdicts[0].name
        return f"pass: {self.candidate} is no worse than {self.baseline} by more than the margin in {scores}"

    def table(self) -> pd.DataFrame:
        """The scores as texts, for a person: a row a score."""
        import pandas as pd

        rows = [
            {
                "score": score.name,
                "baseline": number(score, score.baseline),
                "candidate": number(score, score.candidate),
                "better by (95 %)": f"{number(score, score.difference, '+')}{_interval(score)}",
                "margin": f"{score.margin:g}",
                "images": f"{score.n_images:,}",
                "verdict": _SAID[score.verdict],
                "note": score.reason,
            }
            for score in self.verdicts
        ]
        return pd.DataFrame(rows)

    @public()
    def write_summary(self, path: Path) -> None:
        """Write the verdict and its table as Markdown, for a pull request.

        Raises:
            XkdError: the file cannot be written.
        """
        title, _, rest = self.sentence.partition(": ")
        lines = [f"**{title}**: {markdown_text(rest)}", "", markdown(self.table())]
        lines += [f"{markdown_text(sentence)}\n" for sentence in self.left_out]
        lines.append(f"{_NOTE}\n")
        _write(path, "\n".join(lines).encode())

    @public()
    def write_junit(self, path: Path) -> None:
        """Write JUnit XML: a test case a score, whose failure is a "fail" and whose error an "undecided".

        Raises:
            XkdError: the file cannot be written.
        """
        _write(path, junit_xml(f"{self.candidate} against {self.baseline}", self.verdicts))

    def __repr__(self) -> str:
        return visible(f"<Gate: {self.sentence}>")

    def _repr_html_(self) -> str:
        shown = self.table().map(visible).to_html(index=False)
        return f"<p>{escape(visible(self.sentence))}</p>{shown}"


_NOTE = (
    "Better by: positive where the candidate is better; points for shares. No worse: the lower end of the paired 95 % "
    "interval lies above minus the margin. Worse: the upper end of the interval at the level divided among all scores "
    "lies below it."
)


def number(score: ScoreVerdict, value: float | None, sign: str = "") -> str:
    """A value of a score as it is shown."""
    return "undefined" if value is None else f"{value:{sign}.{1 if score.unit == '%' else 3}f}"


def _interval(score: ScoreVerdict) -> str:
    return "" if score.low is None else f" ({number(score, score.low, '+')} to {number(score, score.high, '+')})"


def _write(path: Path, content: bytes) -> None:
    with writing(f"path: {str(path)!r}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            file.write(content)
