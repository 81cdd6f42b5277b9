"""Compare every loss that has public code with it, and print a page of Markdown.

    python -m benchmarks.published_losses --repositories DIR > docs/published_losses.md

DIR holds checkouts, each in a folder of its repository's name; a missing one is skipped, which is said. What gets them
all at the commits that were compared:

    python -m benchmarks.published_losses --repositories DIR --fetch | sh
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from benchmarks.published_losses import cams, logits, maps, optimisers, relations, trained  # noqa: F401 - their cases
from benchmarks.published_losses.cases import CASES, Case, largest_difference
from benchmarks.published_losses.inputs import SHAPES
from benchmarks.published_losses.repositories import REPOSITORIES, commit_of
from distill.methods import METHODS

_HEADING = """# The losses beside their authors' code

    python -m benchmarks.published_losses --repositories DIR --fetch | sh     # the checkouts, at the commits below
    python -m benchmarks.published_losses --repositories DIR > docs/published_losses.md

Is a loss here the loss that its authors published? This page answers that by numbers, for whoever uses one as a
baseline. The same float64 inputs go through the published code, which is read from a checkout of its repository, and
through ours:

- "Value" is the largest relative difference of the loss over four shapes of inputs, which are listed below the table.
- "Gradient" is the largest difference of the loss's gradient with respect to whatever the student made, relative to the
  gradient's largest entry.

float64 rounds by 1e-16. What is below 1e-13 comes from the order in which numbers are summed. What is above has a
note. Whatever is trained beside the student begins with the same weights on both sides, and whatever is drawn at random
is the same. What surrounds the losses (where maps are taken, how everything is trained) is compared in
[Every baseline as its authors ran it](faithful.md).
"""


def main() -> None:
    """Print the page, or how to get what it needs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repositories", type=Path, required=True, help="folder of the checkouts")
    parser.add_argument("--fetch", action="store_true", help="print the commands that get them, and nothing else")
    arguments = parser.parse_args()
    lines = _commands if arguments.fetch else _page
    for line in lines(arguments.repositories):
        print(line)


def _page(repositories: Path) -> Iterator[str]:
    yield _HEADING
    yield "| Loss | Published where | Value | Gradient | Note |\n|---|---|---:|---:|---|"
    for one in sorted(CASES, key=lambda one: one.loss):
        yield _row(one, repositories)
    compared = {one.loss.partition(",")[0] for one in CASES}
    others = [name for name in METHODS.names() if METHODS.is_own(name) and name not in compared]
    yield f"\nNot compared: {', '.join(others)}.\n\n## Inputs\n"
    yield from (f"- {shape}" for shape in SHAPES)
    yield "\n## Repositories\n\n| | Commit |\n|---|---|"
    for name, repository in REPOSITORIES.items():
        address = f"{repository.owner}/{name}"
        yield f"| [{address}](https://github.com/{address}) | {_commit(name, repositories)} |"


def _row(one: Case, repositories: Path) -> str:
    where = f"{one.repository}, `{one.files[0]}`"
    if not (repositories / one.repository).is_dir():
        return f"| {one.loss} | {where} | | | skipped: no such checkout |"
    found = largest_difference(one, repositories)
    return f"| {one.loss} | {where} | {_shown(found.value)} | {_shown(found.gradient)} | {one.note} |"


def _shown(difference: float) -> str:
    return f"{difference:.0e}" if difference else "0"


def _commit(name: str, repositories: Path) -> str:
    expected = REPOSITORIES[name].commit[:10]
    if not (repositories / name).is_dir():
        return f"`{expected}`, missing"
    found = commit_of(repositories / name)[:10] or "unknown"
    return f"`{found}`" if found == expected else f"`{found}`, not `{expected}`"


def _commands(repositories: Path) -> Iterator[str]:
    for name, repository in REPOSITORIES.items():
        folder = repositories / name
        yield f"git clone --quiet https://github.com/{repository.owner}/{name} {folder}"
        yield f"git -C {folder} checkout --quiet {repository.commit}"


if __name__ == "__main__":
    main()
