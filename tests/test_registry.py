"""Names and things: lazy, one thing a name, other packages' entry points, and references by place."""

import sys
import textwrap
from functools import partial
from importlib import metadata

import pytest

from xkd_eval.errors import XkdError
from xkd_eval.registry import Registry, imported, name_and_rest, near, nearest


class Thing:
    """What the registries of this file hold."""

    name = "plain"


def things(check=lambda thing: thing, **options):
    return Registry("thing", group="xkd.things", check=check, **options)


@pytest.fixture
def modules(tmp_path, monkeypatch):
    """Write modules that can be imported; they are forgotten after the test."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    written = []

    def write(name, text):
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(text))
        written.append(name)

    yield write
    for name in written:
        sys.modules.pop(name, None)


@pytest.fixture
def entry_points(monkeypatch):
    """Stand in for installed packages: (name, value) pairs of the group xkd.things; counts how often they are read."""
    points, reads = [], []

    def read(group):
        reads.append(group)
        return [metadata.EntryPoint(name, value, group) for name, value in points]

    monkeypatch.setattr(metadata, "entry_points", read)
    return points, reads


def test_a_decorated_thing_is_known_by_its_name_or_by_another():
    registry = things()
    assert registry.register(Thing) is Thing and registry["plain"] is Thing
    assert registry.register("other")(Thing) is Thing and registry["other"] is Thing
    assert registry.names() == ["plain", "other"] and "plain" in registry and "none" not in registry


def test_functions_are_known_by_what_they_are_called():
    registry = things(name_of="__name__")

    @registry.register
    def made():
        pass

    assert registry["made"] is made


def test_the_home_is_imported_at_the_first_look_up_and_keeps_its_order(modules, entry_points):
    modules("home_a", "from registry_of_test import things; things.add('a', print); things.add('c', len)")
    modules("home_b", "from registry_of_test import things; things.register('b')(lambda: None)")
    modules("registry_of_test", "")
    import registry_of_test

    registry = registry_of_test.things = things(home=["home_a", "home_b"])
    assert "home_a" not in sys.modules

    assert registry.names() == ["a", "c", "b"] and registry.is_own("b")
    assert registry["a"] is print and "home_a" in sys.modules
    registry.add("d", max)
    assert registry.names()[-1] == "d" and not registry.is_own("d")


def test_what_the_home_imports_may_be_imported_before_it(tmp_path, monkeypatch, entry_points):
    _, reads = entry_points
    package = tmp_path / "house"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "doors.py").write_text("things = None")
    inner = "import house.doors\ndef f(): pass\nhouse.doors.things.register('b')(f)\nlast = 1"
    (package / "inner.py").write_text(inner)
    (package / "shipped.py").write_text("from house.inner import last")
    monkeypatch.syspath_prepend(tmp_path)
    import house.doors

    registry = house.doors.things = things(home=["house.shipped"])
    import house.inner

    assert "house.shipped" not in sys.modules and not reads
    assert registry["b"] is house.inner.f and registry.is_own("b") and "house.shipped" in sys.modules
    for name in [name for name in sys.modules if name.partition(".")[0] == "house"]:
        del sys.modules[name]


def test_entry_points_are_read_only_for_a_name_that_is_not_ours(modules, entry_points):
    _, reads = entry_points
    modules("home_c", "import registry_of_test as r; r.things.add('a', print)")
    modules("registry_of_test", "")
    import registry_of_test

    registry = registry_of_test.things = things(home=["home_c"])
    assert registry["a"] is print and "a" in registry and not reads
    with pytest.raises(XkdError):
        registry["none"]
    assert len(reads) == 1
    assert "none" not in registry and len(reads) == 1


def test_a_home_that_fails_once_is_tried_again(modules):
    modules("home_d", "raise KeyboardInterrupt")
    registry = things(home=["home_d"])
    with pytest.raises(KeyboardInterrupt):
        registry.names()
    modules("home_d", "")
    assert registry.names() == []


def test_a_name_stands_for_one_thing(modules):
    modules("home_e", "import registry_of_test as r; r.things.add('ours', print)")
    modules("registry_of_test", "")
    import registry_of_test

    registry = registry_of_test.things = things(home=["home_e"])
    with pytest.raises(XkdError, match=r"^thing: 'ours' is taken by builtins\.print; choose another name$"):
        registry.add("ours", len)
    registry.add("mine", len)
    registry.add("mine", len)
    with pytest.raises(XkdError, match=r"'mine' is taken by builtins\.len"):
        registry.add("mine", max)
    assert registry.add("mine", max, replace=True) is max


def test_what_is_defined_again_replaces_what_it_was():
    registry = things(name_of="__name__")

    def cell(answer):
        @registry.register("mine")
        class Mine:
            value = answer

        registry.add("instance", Mine())

        @registry.register
        def function():
            return answer

    cell(1)
    cell(2)
    assert registry["mine"].value == 2 and registry["function"]() == 2 and registry["instance"].value == 2


@pytest.mark.parametrize(
    ("one", "other"), [(lambda: 1, lambda: 2), (partial(print, 1), partial(print, 2)), (Thing(), Thing())]
)
def test_things_that_only_look_alike_do_not_replace_each_other(one, other):
    registry = things()
    registry.add("one", one)
    with pytest.raises(XkdError, match="taken"):
        registry.add("one", other)
    assert registry["one"] is one


@pytest.mark.parametrize("name", ["", "a:b", "a,b", "a=b", "a b", "a/b", "py", 3])
def test_names_that_no_command_line_could_say_are_refused(name):
    with pytest.raises(XkdError, match=r"is no name; expected one without"):
        things().add(name, Thing)


def test_what_is_of_another_kind_is_refused():
    def check(thing):
        if not isinstance(thing, type):
            raise XkdError("thing: no class")
        return thing

    with pytest.raises(XkdError, match="thing: no class"):
        things(check).register(len)
    with pytest.raises(XkdError, match="thing: no class"):
        things(check)["py:math:pi"]


def test_an_unknown_name_gets_the_nearest_or_all():
    registry = things(listing="xkd-eval things")
    registry.add("alpha", print)
    registry.add("beta", len)
    with pytest.raises(XkdError, match=r"^thing: unknown 'Alfa'; nearest: alpha \(`xkd-eval things` lists all\)$"):
        registry["Alfa"]
    with pytest.raises(XkdError, match=r"unknown 'zzz'; expected one of alpha, beta"):
        registry["zzz"]
    assert near("ALPHA", registry.names()) == ["alpha"] and near("xyz", registry.names()) == []
    assert nearest("q", list("abcdefghijklmnop"), limit=2) == "expected one of a, b, ..."
    assert nearest("q", []) == "it takes none"


def test_entry_points_are_imported_when_their_name_is_asked_for(modules, entry_points):
    points, _ = entry_points
    modules("plug", "class Plug:\n    name = 'plug'")
    points.append(("plug", "plug:Plug"))
    registry = things()
    assert registry.names() == ["plug"] and "plug" in registry and "plug" not in sys.modules
    assert registry["plug"].__name__ == "Plug"


def test_a_plug_in_may_also_decorate_its_thing(modules, entry_points):
    points, _ = entry_points
    modules("plug", "import registry_of_test as r\n@r.things.register\nclass Plug:\n    name = 'plug'")
    modules("registry_of_test", "")
    import registry_of_test

    registry = registry_of_test.things = things()
    points.append(("plug", "plug:Plug"))
    import plug

    assert registry["plug"] is plug.Plug


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("import nothing_of_this_name", r"the package .* fails to import \(ModuleNotFoundError: No module named"),
        ("1 / 0", r"fails to import \(ZeroDivisionError: division by zero\)"),
        ("raise SystemExit", r"fails to import \(SystemExit\)"),
        ("", r"fails to import \(AttributeError"),
        ("class Plug:\n    name = 'other'", r"has it as 'plug' and it calls itself 'other'"),
    ],
)
def test_a_plug_in_that_fails_costs_itself_alone(modules, entry_points, text, reason):
    points, _ = entry_points
    modules("plug", text)
    points.append(("plug", "plug:Plug"))
    registry = things()
    registry.add("healthy", Thing)
    with pytest.warns(UserWarning, match=f"^thing: 'plug' cannot be used: .*{reason}") as caught:
        assert dict(registry.items()) == {"healthy": Thing}
    assert len(caught) == 1 and "'plug'" in str(caught[0].message) and "\n" not in str(caught[0].message)
    with pytest.raises(XkdError, match=reason):
        registry["plug"]
    assert registry["healthy"] is Thing


def test_two_packages_that_claim_a_name_are_both_named_and_neither_is_used(modules, entry_points):
    points, _ = entry_points
    modules("plug", "class Plug:\n    name = 'plug'")
    points += [("plug", "plug:Plug"), ("plug", "other:Plug")]
    with pytest.raises(XkdError, match="'plug' cannot be used: the packages plug:Plug and other:Plug both claim"):
        things()["plug"]
    points[1] = points[0]  # one package that is found twice is one package
    assert things()["plug"].name == "plug"


def test_a_package_cannot_take_a_name_that_is_ours(modules, entry_points):
    points, _ = entry_points
    points.append(("ours", "plug:Plug"))
    modules("home_f", "import registry_of_test as r; r.things.add('ours', print)")
    modules("registry_of_test", "")
    import registry_of_test

    registry = registry_of_test.things = things(home=["home_f"])
    with pytest.warns(UserWarning, match="'ours' cannot be used: the package plug:Plug claims a name that is taken"):
        assert dict(registry.items()) == {"ours": print}


def test_a_name_of_an_installed_package_is_taken(entry_points):
    points, _ = entry_points
    points.append(("plug", "plug:Plug"))
    with pytest.raises(XkdError, match="'plug' is taken by the package plug:Plug"):
        things().add("plug", Thing)


def test_a_reference_imports_what_lies_in_the_working_directory(modules):
    modules("mine", "class Mine:\n    name = 'mine'\nclass Clash:\n    name = 'plain'")
    registry = things()
    registry.register(Thing)
    assert registry["py:mine:Mine"].__name__ == "Mine"
    assert registry["mine"] is registry["py:mine:Mine"], "what results call it finds it again"
    with pytest.raises(XkdError, match="'plain' is taken"):
        registry["py:mine:Clash"]


def test_the_working_directory_comes_first_and_stays(tmp_path, monkeypatch):
    (tmp_path / "mine_in_cwd.py").write_text("value = 3")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    assert imported("py:mine_in_cwd:value", "thing") == 3
    assert sys.path[0] == str(tmp_path)
    sys.modules.pop("mine_in_cwd")


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("py:", r"'py:' found; expected py:package\.module:name"),
        ("py:mine", r"expected py:package\.module:name"),
        ("py:mine:a:b", r"expected py:package\.module:name"),
        (
            "py:nothing_here:x",
            r"py:nothing_here:x names no module 'nothing_here' in .* or among the installed",
        ),
        ("py:mine.sub:x", r"cannot be imported|names no module"),
        ("py:mine:valu", r"mine has no 'valu'; nearest: value"),
        ("py:wrong:x", r"py:wrong:x cannot be imported \(ModuleNotFoundError: No module named 'nothing_here'\)"),
        ("py:damaged:x", r"cannot be imported \(SyntaxError"),
    ],
)
def test_a_reference_that_fails_says_why_in_one_line(modules, reference, message):
    modules("mine", "value = 1")
    modules("wrong", "import nothing_here")
    modules("damaged", "def")
    with pytest.raises(XkdError, match=rf"^thing: .*{message}") as caught:
        imported(reference, "thing")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("cam", ("cam", "")),
        ("cam:a=1,b=2", ("cam", "a=1,b=2")),
        ("embedded:train:x", ("embedded", "train:x")),
        ("py:a.b:C", ("py:a.b:C", "")),
        ("py:a.b:C:steps=3", ("py:a.b:C", "steps=3")),
        ("py:a.b:make:with:colons", ("py:a.b:make", "with:colons")),
    ],
)
def test_name_and_rest(given, expected):
    assert name_and_rest(given) == expected
