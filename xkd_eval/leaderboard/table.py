"""table(): run directories side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from xkd_eval.arguments import one_or_more, public
from xkd_eval.errors import XkdError
from xkd_eval.evaluations.scores import ScoreSpec
from xkd_eval.foreign import is_there, printable
from xkd_eval.leaderboard.blocks import Block, Entry, blocks_of
from xkd_eval.leaderboard.result import Leaderboard
from xkd_eval.registry import nearest
from xkd_eval.study.answers import CleanPass
from xkd_eval.study.records import Description, read_record
from xkd_eval.study.result import EvaluationResult
from xkd_eval.study.trees import run_directories

_AGAIN = "run its test again in another directory"


@public(models="runs")
def table(
    runs: str | Path | Sequence[str | Path],
    *,
    scores: str | Sequence[str] | None = None,
    sort: str | None = None,
) -> Leaderboard:
    """Finished runs as tables: those that can be compared in one block, the others apart, with the reason.

    Runs can be compared where test, protocol hash, data digest and, for a test that needs one, the reference are equal,
    and where no image is another picture under the same name.

    Args:
        runs: run directories, or folders in which they are looked for, such as `evaluate` and `compare` leave. Those
            that are unfinished or damaged are left out, with a sentence.
        scores: which are shown, "miou" or "segmentation.miou"; by default the headline ones and those that stand in
            printed tables.
        sort: the score by which rows are sorted, the best first; by default the first headline score of each block.

    Raises:
        XkdError: a folder that is not there, no finished run, or a score that none of them has.

    Example:
        >>> import tempfile, xkd_eval
        >>> folder = tempfile.mkdtemp()
        >>> _ = xkd_eval.evaluate(["embedded/teacher", "embedded/kd"], output=folder, limit=8)
        >>> found = xkd_eval.table(folder, scores="clean_accuracy")
        >>> [list(block.scores["score"]) for block in found.blocks]
        [['clean_accuracy', 'clean_accuracy']]
    """
    given = one_or_more(runs, (str, Path), "runs", "a path, or several", "expected paths")
    if not given:
        raise XkdError("runs: none given; expected run directories, or folders that hold some")
    results, left_out = _read([Path(path) for path in given])
    wanted = None if scores is None else one_or_more(scores, str, "scores", "a name, or several", "expected names")
    blocks = blocks_of(results)
    if sort is None:
        return Leaderboard(tuple(map(_by_headline, _chosen(blocks, wanted))), tuple(left_out))
    return Leaderboard(tuple(_chosen(_sorted(blocks, sort), wanted)), tuple(left_out))


def _read(paths: Sequence[Path]) -> tuple[list[EvaluationResult], list[str]]:
    """The finished runs, each once, and a sentence for each that cannot be read."""
    places: list[Path] = []
    for path in paths:
        if not is_there(path, Path.is_dir):
            raise XkdError(
                f"runs: {str(path)!r} is no directory; expected a run directory, or a folder that holds some"
            )
        places += run_directories(path)
    results, left_out = [], []
    once: dict[Path, Path] = {}
    for place in places:
        once.setdefault(place.resolve(), place)
    for place in once.values():
        try:
            # What a study's models answered, for tests that choose photographs by it, is no test.
            if read_record(place / "protocol.json", Description, _AGAIN, "runs")["test"] != CleanPass.name:
                results.append(EvaluationResult.read(place))
        except XkdError as error:
            reason = str(error).partition(": ")[2]
            where = "" if str(place) in reason else f"{printable(str(place))}: "
            left_out.append(f"left out: {where}{reason}")
    if not results:
        why = f"; {left_out[0]}" if left_out else "; expected what `evaluate`, `compare` or a test left"
        raise XkdError(f"runs: no finished run in {printable(', '.join(map(str, paths)))}{why}")
    return results, left_out


def _chosen(blocks: Sequence[Block], wanted: Sequence[str] | None) -> list[Block]:
    """With the scores that are shown; a block that has none of those that were named is left out."""
    if wanted is None:
        return [_with(block, [spec for spec in block.specs if spec.is_at_least("shown")]) for block in blocks]
    for name in wanted:
        _check_known("scores", name, blocks)
    chosen = [
        _with(block, [spec for name in wanted for spec in block.specs if _is(name, block, spec)]) for block in blocks
    ]
    return [block for block in chosen if block.specs]


def _sorted(blocks: Sequence[Block], sort: str) -> list[Block]:
    """By a score; a block that has it not, by its first headline one."""
    _check_known("sort", sort, blocks)
    found = []
    for block in blocks:
        named = next((spec for spec in block.specs if _is(sort, block, spec)), None)
        found.append(_by_headline(block) if named is None else _by(block, named))
    return found


def _by_headline(block: Block) -> Block:
    usual = next((spec for spec in block.specs if spec.sign and spec.is_at_least("headline")), None)
    return block if usual is None else _by(block, usual)


def _by(block: Block, spec: ScoreSpec) -> Block:
    return replace(block, entries=tuple(_ranked(block.entries, spec)))


def _ranked(entries: Sequence[Entry], spec: ScoreSpec) -> list[Entry]:
    """The best first, those without a value last; of a score without a better direction the greatest first."""
    values = [entry.value(spec)[0] for entry in entries]
    keys = [float("inf") if value is None else -(spec.sign or 1) * value for value in values]
    return [entry for _, entry in sorted(zip(keys, entries, strict=True), key=lambda pair: pair[0])]


def _is(name: str, block: Block, spec: ScoreSpec) -> bool:
    return name in (spec.name, f"{block.test.name}.{spec.name}")


def _check_known(argument: str, name: str, blocks: Sequence[Block]) -> None:
    known = [f"{block.test.name}.{spec.name}" for block in blocks for spec in block.specs]
    if not any(_is(name, block, spec) for block in blocks for spec in block.specs):
        short_names = [full.partition(".")[2] for full in known]
        named = known if "." in name and name not in short_names else short_names
        raise XkdError(f"{argument}: unknown score {printable(name)!r}; {nearest(name, list(dict.fromkeys(named)))}")


def _with(block: Block, specs: Sequence[ScoreSpec]) -> Block:
    return replace(block, specs=tuple(dict.fromkeys(specs)))
