"""The errors a user can cause, each one sentence long: what was given, what was found, what to do.

A message begins with the Python argument that is at fault ("direction: unknown value 'up'; expected ...") and puts
others that it mentions into backticks ("give `labels`"); a command line says its own options for both.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from xkd_eval.escapes import visible


class XkdError(ValueError):
    """Bad input. The message is one line, names the argument, and the command line prints it and exits with code 2.

    Example:
        >>> from xkd_eval import XkdError, load_classifier
        >>> try:
        ...     load_classifier("embedded/kd", size=-1)
        ... except XkdError as error:
        ...     print(error)
        size: -1 found; expected a side in pixels, or a height and a width, from 1 to 16384
    """

    def __init__(self, message: str) -> None:
        super().__init__(visible(message))  # it may quote a name from outside, which must not steer a terminal


def renamed(message: str, names: Mapping[str, str], quote: str = "`") -> str:
    """An error's message with other names for the arguments that it speaks of.

    Args:
        message: begins with the argument's name, and has others in backticks.
        names: of the argument -> what it is called instead; other words stay.
        quote: around the names within the sentence.
    """
    message = re.sub(r"^\w+(?=[: ])", lambda found: names.get(found[0], found[0]), message)
    return renamed_within(message, names, quote)


def renamed_within(sentence: str, names: Mapping[str, str], quote: str = "`") -> str:
    """A sentence with other names for the arguments that stand in backticks; see `renamed`."""
    return re.sub(
        r"`(\w+)`", lambda found: f"{quote}{names[found[1]]}{quote}" if found[1] in names else found[0], sentence
    )


class UnreadableImageError(XkdError):
    """An image that cannot be decoded. Runs skip it, count it and list it; `--strict` lets it through."""


class CamHeadError(XkdError):
    """A model without a class activation map in closed form; the message says why."""


class ExplainerError(XkdError):
    """An explainer that does not hold for a model, or lacks what it needs (a mask, stored maps, a token grid)."""


def check_choice(argument: str, value: object, choices: Sequence[str]) -> None:
    """Raise XkdError where a value is none of the choices."""
    if value not in choices:
        raise XkdError(f"{argument}: unknown value {value!r}; expected one of {', '.join(choices)}")
