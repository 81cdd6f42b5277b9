"""Verdicts as JUnit XML, which GitLab shows as they are, and GitHub by an action."""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.etree import ElementTree

from xkd_eval.escapes import visible
from xkd_eval.gate.verdicts import ScoreVerdict

# What no XML document may hold and `visible` lets pass.
_NO_XML = re.compile("[\ufffe\uffff]")


def junit_xml(name: str, verdicts: Sequence[ScoreVerdict]) -> bytes:
    """A test suite with a case a score.

    "Fail" is a failure. "Undecided" is an error, the format's word for a test that could not tell: a skipped case is
    shown in green by most readers, and would pass for one that was passed.

    Args:
        name: of the suite.
        verdicts: one a score.
    """
    kinds = [verdict.verdict for verdict in verdicts]
    counts = {"tests": len(kinds), "failures": kinds.count("fail"), "errors": kinds.count("undecided"), "skipped": 0}
    suites = ElementTree.Element("testsuites")
    suite = ElementTree.SubElement(suites, "testsuite", {"name": _text(name), **{k: str(n) for k, n in counts.items()}})
    for verdict in verdicts:
        names = {"classname": _text(verdict.test), "name": _text(verdict.score)}
        case = ElementTree.SubElement(suite, "testcase", names)
        if verdict.verdict == "fail":
            ElementTree.SubElement(case, "failure", {"type": "worse", "message": _said(verdict)})
        elif verdict.verdict == "undecided":
            ElementTree.SubElement(case, "error", {"type": "undecided", "message": _said(verdict)})
    ElementTree.indent(suites)
    return ElementTree.tostring(suites, encoding="utf-8", xml_declaration=True)


def _said(verdict: ScoreVerdict) -> str:
    parts = [f"margin {verdict.margin:g}"]
    if verdict.difference is not None:
        parts.insert(0, f"better by {verdict.difference:+.4g}")
    if verdict.low is not None and verdict.high is not None:
        parts.insert(1, f"95 % interval {verdict.low:+.4g} to {verdict.high:+.4g}")
    if verdict.reason:
        parts.append(verdict.reason)
    return _text("; ".join(parts))


def _text(text: str) -> str:
    return _NO_XML.sub("\N{REPLACEMENT CHARACTER}", visible(text))
