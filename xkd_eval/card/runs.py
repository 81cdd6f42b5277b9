"""The finished runs of a model, in directories of their own or somewhere below a folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from xkd_eval.errors import XkdError
from xkd_eval.study.result import EvaluationResult

_DIGITS = 12


def results_in(paths: Sequence[Path], digest: str) -> list[EvaluationResult]:
    """The model's own runs.

    Args:
        paths: run directories, or folders that hold some; there those of other models are passed over.
        digest: of the model's weights.

    Raises:
        XkdError: a run of another model, one that is damaged or not finished, or a folder without a run of this one.
    """
    found: dict[Path, EvaluationResult] = {}
    for path in paths:
        if (path / "protocol.json").is_file():
            result = EvaluationResult.read(path)
            _check_own(path, result, digest)
            found[path.resolve()] = result
        else:
            found |= _below(path, digest)
    return list(found.values())


def _below(path: Path, digest: str) -> dict[Path, EvaluationResult]:
    places = sorted(file.parent for file in path.rglob("summary.json") if (file.parent / "protocol.json").is_file())
    results = {place.resolve(): EvaluationResult.read(place) for place in places}
    own = {place: result for place, result in results.items() if _is_own(result, digest)}
    if not own:
        there = f"{len(results)} of other models" if results else "none"
        raise XkdError(
            f"runs: {str(path)!r} holds no finished run of this model ({there} found); name run directories that "
            "`xkd-eval perturbation` or another test left, or a folder of them"
        )
    return own


def _check_own(path: Path, result: EvaluationResult, digest: str) -> None:
    model = result.summary["model"]
    if model["digest"] != digest:
        raise XkdError(
            f"runs: {str(path)!r} is of {model['name']}, whose weights have the digest {model['digest'][:_DIGITS]}; "
            f"this model's is {digest[:_DIGITS]}: name runs of this one"
        )
    if not _is_own(result, digest):
        raise XkdError(f"runs: {str(path)!r} scores another model's maps; name a run of this model's own")


def _is_own(result: EvaluationResult, digest: str) -> bool:
    """Whether the model answers, and its own maps are scored."""
    return result.summary["model"]["digest"] == digest and not result.summary["explainer"].get("of")
