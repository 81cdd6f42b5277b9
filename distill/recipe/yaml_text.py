"""YAML from outside as plain values, and plain values as YAML: the one place that reads a recipe, sweep or job.

Read is what YAML 1.2 calls its core schema: `010` and `1:30` are texts, not the numbers 8 and 90, `1e3` is a number, a
date is a text. `yes`, `no`, `on` and `off` stay truth values, and `<<` merges. All keys are texts and each stands once.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any, NoReturn

import yaml
from yaml.nodes import CollectionNode, MappingNode, Node, ScalarNode

from xkd_eval.errors import XkdError
from xkd_eval.foreign import bytes_of, reading, reason, short

_LARGEST_FILE = 2**20  # bytes; libraries' parsers take seconds for one
_MOST_VALUES = 100_000  # once aliases are written out
_DEEPEST = 50
_TAG = "tag:yaml.org,2002:"
_MERGE = f"{_TAG}merge"
_TAGS = {f"{_TAG}{name}" for name in ("map", "seq", "str", "int", "float", "bool", "null", "merge")}
_EXPONENT = re.compile(r"[-+]?[0-9]+[eE][-+]?[0-9]+$")


class _TooMuchError(Exception):
    """More than people write; PyYAML would go on for seconds, or into Python's own limit."""


class _Loader(yaml.SafeLoader):
    """Which plain words are no texts; see the module."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - as PyYAML declares it
    _values = _depth = 0

    def compose_node(self, parent: Node | None, index: Any) -> Node | None:
        """The next value; a document that goes on and on is not read to its end."""
        self._values, self._depth = self._values + 1, self._depth + 1
        if self._depth > _DEEPEST:
            raise _TooMuchError(f"is nested more than {_DEEPEST} deep")
        if self._values > _MOST_VALUES:
            raise _TooMuchError(f"holds more than {_MOST_VALUES:,} values")
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


class _Dumper(yaml.SafeDumper):
    """Quotes texts that _Loader, or PyYAML's own, would take for something else."""


_Loader.add_implicit_resolver(f"{_TAG}int", re.compile(r"[-+]?(?:0|[1-9][0-9]*)$"), list("-+0123456789"))
_Loader.add_implicit_resolver(
    f"{_TAG}float",
    re.compile(
        r"[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*)(?:[eE][-+]?[0-9]+)?$|[-+]?[0-9]+[eE][-+]?[0-9]+$"
        r"|[-+]?\.(?:inf|Inf|INF)$|\.(?:nan|NaN|NAN)$"
    ),
    list("-+.0123456789"),
)
_Loader.add_implicit_resolver(f"{_TAG}null", re.compile(r"~$|null$|Null$|NULL$|$"), ["~", "n", "N", ""])
_Loader.add_implicit_resolver(
    f"{_TAG}bool",
    re.compile(r"(?:yes|Yes|YES|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF)$"),
    list("yYnNtTfFoO"),
)
_Loader.add_implicit_resolver(_MERGE, re.compile(r"<<$"), ["<"])
_Dumper.add_implicit_resolver(f"{_TAG}float", _EXPONENT, list("-+0123456789"))


def read_yaml(path: Path, what: str) -> Any:
    """A YAML file's value.

    Args:
        path: of the file.
        what: the argument that named it.

    Raises:
        XkdError: missing, no file, too large, not UTF-8; or as `parse_yaml`.
    """
    where = f"{what}: {short(str(path))}"
    try:
        content = bytes_of(path, _LARGEST_FILE)
    except FileNotFoundError:
        raise XkdError(f"{where} does not exist; give the path of a file, from here") from None
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        raise XkdError(f"{where} cannot be read ({reason(error)}); expected a file as people write them") from None
    with reading(f"{where} is no YAML", "save it as UTF-8"):
        text = content.decode("utf-8-sig")
    return parse_yaml(text, where)


def parse_yaml(text: str, where: str) -> Any:
    """The value that a YAML document stands for: None, a truth value, a number, a text, a list, or a dict by texts.

    Args:
        text: of one document.
        where: begins the message: the argument, the file.

    Raises:
        XkdError: no YAML; a key that stands twice or is no text; a tag that is none of the plain values'; a number that
            is not finite; aliases or nesting beyond what anybody writes. The message names the line.
    """
    loader = None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _Checked(where).measure(node)
        return loader.construct_document(node)
    except XkdError:
        raise
    except yaml.MarkedYAMLError as error:
        line = f" in line {error.problem_mark.line + 1}" if error.problem_mark is not None else ""
        raise XkdError(f"{where} is no YAML ({short(error.problem)}{line}); mend that") from None
    except _TooMuchError as error:
        raise XkdError(f"{where} {error}; expected what people write") from None
    except Exception as error:  # a character that YAML refuses, or a value that is none of its tag
        raise XkdError(f"{where} is no YAML ({reason(error)}); mend that") from None
    finally:
        if loader is not None:
            loader.dispose()


def yaml_text(values: Any) -> str:
    """Plain values as a document that `parse_yaml` gives back, keys in their order."""
    return yaml.dump(values, Dumper=_Dumper, sort_keys=False)


def override(key: str, value: Any, what: str) -> str:
    """ "key=value" of any plain value, as `load_recipe` takes it.

    Args:
        key: dotted.
        value: a truth value, a number, a text.
        what: the argument that it comes from.

    Raises:
        XkdError: a text that no YAML holds, as a file's name that is not UTF-8.
    """
    text = yaml_text(value)
    parse_yaml(text, f"{what}: {short(value)}")
    return f"{key}={text}"


class _Checked:
    """The nodes of a document, each looked at once however many aliases name it.

    Args:
        where: begins the messages.
    """

    def __init__(self, where: str) -> None:
        self._where = where
        self._measured: dict[int, tuple[int, int] | None] = {}

    def measure(self, node: Node) -> tuple[int, int]:
        """Of the value that a node stands for: how many values it holds with itself, and how deep.

        Raises:
            XkdError: it is more than plain values, or more of them than anybody writes.
        """
        if id(node) in self._measured:
            known = self._measured[id(node)]
            if known is None:
                self._refuse(node, "a value holds itself", "write it out")
            return known
        self._measured[id(node)] = None
        if node.tag not in _TAGS:
            self._refuse(node, f"the tag {short(node.tag.removeprefix(_TAG))} found", "expected plain values")
        if isinstance(node, ScalarNode):
            self._check_scalar(node)
        if isinstance(node, MappingNode):
            self._check_keys(node)
        inner = [self.measure(child) for child in _children(node)]
        size, depth = 1 + sum(size for size, _ in inner), 1 + max((depth for _, depth in inner), default=0)
        if depth > _DEEPEST:
            self._refuse(node, f"values nested more than {_DEEPEST} deep by aliases", "expected what people write")
        if size > _MOST_VALUES:
            self._refuse(node, f"more than {_MOST_VALUES:,} values by aliases", "expected what people write")
        self._measured[id(node)] = size, depth
        return size, depth

    def _check_scalar(self, node: ScalarNode) -> None:
        if re.search("[\0\ud800-\udfff]", node.value):
            self._refuse(node, "a zero byte, or half a character, found", "leave it out")
        if node.tag == f"{_TAG}int" and not abs(_whole(node.value)) < 2**63:
            self._refuse(node, f"{short(node.value)} found", "expected a whole number of at most 18 digits")
        if node.tag == f"{_TAG}float" and not math.isfinite(_fractional(node.value)):
            self._refuse(node, f"{short(node.value)} found", "expected a finite number")

    def _check_keys(self, node: MappingNode) -> None:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, ScalarNode) or key.tag not in (f"{_TAG}str", _MERGE):
                shown = f"the key {short(key.value)}" if isinstance(key, ScalarNode) else "a list or mapping as a key"
                self._refuse(key, f"{shown} is no text", "put it into quotes")
            if key.value in seen:
                self._refuse(key, f"the key {short(key.value)} stands twice", "leave one out")
            seen.add(key.value)

    def _refuse(self, node: Node, fault: str, remedy: str) -> NoReturn:
        raise XkdError(f"{self._where}: {fault} in line {node.start_mark.line + 1}; {remedy}")


def _children(node: Node) -> list[Node]:
    if isinstance(node, MappingNode):
        return [part for pair in node.value for part in pair]
    return list(node.value) if isinstance(node, CollectionNode) else []


def _whole(text: str) -> float:
    """What an integer's text comes to; one that is too long, or of another base, counts as endless."""
    return int(text) if re.fullmatch(r"[-+]?[0-9]{1,19}", text) else math.inf


def _fractional(text: str) -> float:
    try:
        return float(text)
    except ValueError:  # .inf, .nan
        return math.inf
