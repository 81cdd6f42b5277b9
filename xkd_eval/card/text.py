"""The body of a card, in Markdown: every name from outside is text, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from urllib.parse import quote

from xkd_eval.card.facts import Facts
from xkd_eval.card.scores import CardScore
from xkd_eval.escapes import markdown_text
from xkd_eval.wording import counted

_DIGITS = 12


def body(
    facts: Facts, scores: Sequence[CardScore], pictures: Iterable[tuple[str, str]], name: str, repository: str | None
) -> str:
    """What a person reads.

    Args:
        facts: of the model.
        scores: all of them.
        pictures: path, as seen from the card, and caption of each.
        name: of the model.
        repository: where it will lie on the hub; None where nobody says.
    """
    sections = [
        _section("What it is", _listed(facts.described())),
        _section("How it was trained", _listed(facts.trained())),
        _section("Scores", list(_scores(scores))),
        _section("Pictures", [f"![{markdown_text(caption)}]({quote(path)})\n" for path, caption in pictures]),
        _section("How to load it", list(_loading(facts, repository))),
    ]
    return f"# {markdown_text(name)}\n\n{''.join(sections)}".rstrip() + "\n"


def _section(title: str, lines: Sequence[str]) -> str:
    return f"## {title}\n\n" + "\n".join(lines).rstrip() + "\n\n" if lines else ""


def _listed(pairs: Iterable[tuple[str, str]]) -> list[str]:
    return [f"- {markdown_text(label)}: {markdown_text(text)}" for label, text in pairs]


def _scores(scores: Sequence[CardScore]) -> Iterator[str]:
    """A table a data set, with the rules and the images behind each row."""
    for data in dict.fromkeys(score.data for score in scores):
        name, digest, n_images = data
        yield f"{counted(n_images, 'image')} of {markdown_text(name)} (digest {digest[:_DIGITS]}), 95 % intervals.\n"
        yield "| test | maps | score | value | protocol |"
        yield "|---|---|---|---|---|"
        for score in scores:
            if score.data == data:
                yield _row(score)
        yield ""


def _row(score: CardScore) -> str:
    rules = "" if score.protocol is None else f"{score.protocol[0]} ({score.protocol[1]})"
    cells = (score.test, score.maps or "", score.spec.head, score.shown, rules)
    return f"| {' | '.join(map(markdown_text, cells))} |"


def _loading(facts: Facts, repository: str | None) -> Iterator[str]:
    """Three lines of Python; of a model without a file of its own there is nothing to load."""
    if facts.file is None:
        return
    file = json.dumps(facts.file.name)
    yield "```python"
    if repository is not None:
        yield "from huggingface_hub import hf_hub_download"
        yield "from xkd_eval import load_classifier"
        yield f"classifier = load_classifier(hf_hub_download({json.dumps(repository)}, {file}))"
    else:
        yield "from xkd_eval import load_classifier"
        yield f"classifier = load_classifier({file})"
        yield "logits = classifier(images)  # (B, 3, H, W), normalised as `classifier.preprocess` says"
    yield "```"
