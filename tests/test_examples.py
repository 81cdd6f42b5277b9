"""The examples in the docstrings of the public names run, and every public name has one."""

from __future__ import annotations

import doctest
import inspect
import pydoc

import pytest

import distill
import xkd_eval

OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def examples(thing: object, name: str) -> list[doctest.DocTest]:
    """The examples of a public class or function, those of its methods included."""
    found = doctest.DocTestFinder(exclude_empty=True).find(thing, name, module=inspect.getmodule(thing))
    return [test for test in found if test.examples]


PUBLIC = [(package, name) for package in (xkd_eval, distill) for name in getattr(package, "__all__", [])]


@pytest.mark.parametrize(("package", "name"), PUBLIC, ids=[name for _, name in PUBLIC])
def test_the_examples_of_a_public_name_run(package, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = examples(getattr(package, name), name)
    assert found, f"{name} has no example"
    runner = doctest.DocTestRunner(optionflags=OPTIONS)
    told: list[str] = []
    for test in found:
        test.globs = {}
        runner.run(test, out=told.append)
    assert not runner.failures, "".join(told)


def test_dir_and_help_show_the_public_names():
    assert set(xkd_eval.__all__) <= set(dir(xkd_eval))
    shown = pydoc.plain(pydoc.render_doc(xkd_eval))
    for name in xkd_eval.__all__:
        assert f" {name}" in shown, name


def test_the_table_of_names_is_complete():
    assert sorted(xkd_eval._HOME) == sorted(xkd_eval.__all__) == list(xkd_eval.__all__)
