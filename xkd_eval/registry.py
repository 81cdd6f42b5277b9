"""Registry: everything that is found by name, ours and that of other packages."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from importlib import import_module, metadata
from typing import Generic, Protocol, TypeVar

from xkd_eval.errors import XkdError


class _Named(Protocol):
    name: str


T = TypeVar("T")
_N = TypeVar("_N", bound=_Named)


class Registry(Generic[T]):
    """Name -> thing, of one kind.

    A thing is known by its name from the moment it is added (`add`, or the decorator `register`), from the entry
    points of installed packages, which are read when a name is first looked up, or by where it stands:
    "py:package.module:Thing", which is imported when it is asked for.

    Args:
        argument: that takes such a name, for the messages: "explainer".
        group: of the entry points: "xkd.explainers".
        home: modules of this project that add to it when they are imported; imported at the first look-up.
        check: raises XkdError for a thing that is not of the kind.
        listing: the command that lists all names, for the messages.
    """

    def __init__(
        self,
        argument: str,
        *,
        group: str,
        home: Collection[str] = (),
        check: Callable[[object], T],
        listing: str | None = None,
    ) -> None:
        self.argument = argument
        self.group = group
        self._home = tuple(home)
        self._check = check
        self._listing = listing
        self._known: dict[str, T] = {}
        self._points: dict[str, metadata.EntryPoint] | None = None
        self._broken: dict[str, str] = {}
        self._loaded = False

    def add(self, name: str, thing: T, *, replace: bool = False) -> T:
        """Make a thing known.

        Args:
            name: what commands, recipes and functions call it.
            thing: of the registry's kind.
            replace: take the place of the thing that has the name, as a notebook's cell that is run twice does.

        Raises:
            XkdError: another thing has the name.
        """
        there = self._known.get(name)
        if there is not None and there is not thing and not replace and not _is_redefined(there, thing):
            raise XkdError(f"{self.argument}: {name!r} is taken by {_place(there)}; choose another name")
        self._known[name] = thing
        return thing

    def register(self, thing: _N) -> _N:
        """Decorator: make a thing known under its own `name`."""
        self.add(thing.name, self._check(thing))
        return thing

    def __contains__(self, name: object) -> bool:
        return name in self._known or name in self.names()

    def __getitem__(self, name: str) -> T:
        """The thing of that name.

        Args:
            name: known, or "py:package.module:Thing".

        Raises:
            XkdError: unknown (the nearest names are given), or its package fails to import.
        """
        if name.startswith("py:"):
            return self._check(imported(name, self.argument))
        self._load()
        if name not in self._known and name in self._entry_points():
            self._load_point(name)
        if name in self._known:
            return self._known[name]
        if name in self._broken:
            raise XkdError(f"{self.argument}: {name!r} cannot be used: {self._broken[name]}")
        listing = f" (`{self._listing}` lists all)" if self._listing else ""
        raise XkdError(f"{self.argument}: unknown {name!r}; {nearest(name, self.names())}{listing}")

    def names(self) -> list[str]:
        """All known names: this project's, then those of other packages."""
        self._load()
        return list(dict.fromkeys([*self._known, *self._entry_points()]))

    def items(self) -> Iterator[tuple[str, T]]:
        """Names and things; one that fails to import is warned of by name and left out."""
        for name in self.names():
            try:
                yield name, self[name]
            except XkdError as error:
                warnings.warn(str(error), stacklevel=2)

    def _load(self) -> None:
        if not self._loaded:
            self._loaded = True
            for module in self._home:
                import_module(module)

    def _entry_points(self) -> Mapping[str, metadata.EntryPoint]:
        if self._points is None:
            self._points = {}
            for point in metadata.entry_points(group=self.group):
                there = self._points.setdefault(point.name, point)
                if there.value != point.value:
                    self._broken[point.name] = (
                        f"{there.value} and {point.value} both claim the name; remove one package"
                    )
        return self._points

    def _load_point(self, name: str) -> None:
        point = self._entry_points()[name]
        if name in self._broken:
            return
        try:
            thing = self._check(point.load())
        except XkdError as error:
            self._broken[name] = str(error)
        except Exception as error:  # whatever another package's import does, it costs that package alone
            package = point.dist.name if point.dist is not None else point.value
            self._broken[name] = f"the package {package} fails to import ({type(error).__name__}: {_line(error)})"
        else:
            self._known.setdefault(name, thing)


def imported(reference: str, argument: str) -> object:
    """What "py:package.module:Thing" names.

    Args:
        reference: as a user gave it.
        argument: that held it, for the messages.

    Raises:
        XkdError: no such module or name (the nearest are given), or a module that fails to import.
    """
    module_name, _, name = reference.removeprefix("py:").partition(":")
    if not module_name or not name:
        raise XkdError(f"{argument}: {reference!r} found; expected py:package.module:name")
    try:
        module = import_module(module_name)
    except Exception as error:  # a user's module may raise anything
        raise XkdError(
            f"{argument}: {reference} cannot be imported ({type(error).__name__}: {_line(error)})"
        ) from error
    if not hasattr(module, name):
        known = [other for other in vars(module) if not other.startswith("_")]
        raise XkdError(f"{argument}: {module_name} has no {name!r}; {nearest(name, known)}")
    return getattr(module, name)


def nearest(name: str, known: Collection[str], *, limit: int = 12) -> str:
    """The known names that a wrong one may mean, for a message: "nearest: a, b", or all where none is near.

    Args:
        name: as given.
        known: names.
        limit: of the list where none is near; a longer one ends in "...".
    """
    if found := near(name, known):
        return f"nearest: {', '.join(found)}"
    if not known:
        return "it takes none"
    listed = [*list(known)[:limit], *(["..."] if len(known) > limit else [])]
    return f"expected one of {', '.join(listed)}"


def near(name: str, known: Iterable[str], *, count: int = 3, cutoff: float = 0.5) -> list[str]:
    """The known names most like a wrong one, whatever the case; the nearest first.

    Args:
        name: as given.
        known: names; of two that differ in case alone, the first.
        count: at most so many.
        cutoff: how like they must be, 0 to 1 (difflib's ratio).
    """
    folded = {other.casefold(): other for other in reversed(list(known))}
    return [folded[other] for other in difflib.get_close_matches(name.casefold(), folded, n=count, cutoff=cutoff)]


def _is_redefined(there: object, thing: object) -> bool:
    """Whether a class or function was defined again in the same place, as a cell that is run twice does."""
    return _place(there) == _place(thing)


def _place(thing: object) -> str:
    module, name = (getattr(thing, attribute, None) for attribute in ("__module__", "__qualname__"))
    return f"{module}.{name}" if module and name else f"{type(thing).__module__}.{type(thing).__qualname__}"


def _line(error: BaseException) -> str:
    return str(error).strip().split("\n")[0]


def name_and_rest(given: str) -> tuple[str, str]:
    parts = given.split(":", 3 if given.startswith("py:") else 1)
    names = 3 if given.startswith("py:") else 1
    return ":".join(parts[:names]), "".join(parts[names:])
