"""What a plugin says about itself: who it is, what it needs, which objects it can wrap, and how it fares.

These are the values that hooks return, next to :class:`mml.registry.Component`. They hold names only, so
that declaring them imports nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from mml.errors import PluginError

API_VERSION = 1
"""The version of the plugin interface that this core speaks."""

SERVED_VERSIONS = tuple(version for version in (API_VERSION - 1, API_VERSION) if version >= 1)
"""The versions that core serves: the current one and, where there is one, the previous."""


@dataclass(frozen=True)
class PluginInfo:
    """A plugin's identity, as its hook ``mml_plugin`` returns it.

    Parameters
    ----------
    name : str
        The plugin's name: the same as its entry point's, and the first part of its components' names.
    api_version : (int, int)
        The lowest and highest version of the plugin interface that it works with.
    requires : tuple of str
        The top-level modules without which its components cannot be loaded.
    install : str, optional
        What ``pip install`` brings those modules, e.g. ``"mml[foo]"``.

    Examples
    --------
    >>> PluginInfo("foo", api_version=(1, 1), requires=("foolib",), install="mml-foo").serves(1)
    True
    """

    name: str
    api_version: tuple[int, int]
    requires: tuple[str, ...] = ()
    install: str | None = None

    def __post_init__(self) -> None:
        if not _is_range(self.api_version):
            raise PluginError(
                f"The plugin {self.name!r} declares no range of API versions.",
                expected="api_version=(lowest, highest)",
                found=repr(self.api_version),
            )
        if not _are_top_level(self.requires):
            raise PluginError(
                f"The plugin {self.name!r} declares what it requires wrongly.",
                expected="a tuple of top-level module names",
                found=repr(self.requires),
            )

    def serves(self, version: int) -> bool:
        """Whether the plugin works with one version of the interface."""
        return self.api_version[0] <= version <= self.api_version[1]


@dataclass(frozen=True)
class Claim:
    """A claim to wrap objects of one class and of those derived from it.

    Parameters
    ----------
    class_path : str
        ``module.qualname`` of the class as it stands in ``type(obj).__mro__``.
    backend : str
        The name of the backend that the objects belong to; it wraps those that are used as models.
    priority : int
        The highest wins where several plugins claim one class.
    kind : str
        What the objects are used as where they are wrapped: a kind of component, such as ``"scalers"``.
    wrapper : str, optional
        For other kinds than models: registered name of the component of that kind that wraps the objects. Its
        class method ``factory_for(target)`` gets such an object or class and returns a function that makes
        components from it: fresh ones, from keyword arguments where ``target`` is a class.
    """

    class_path: str
    backend: str
    priority: int = 0
    kind: str = "models"
    wrapper: str | None = None

    def __post_init__(self) -> None:
        if (self.kind == "models") != (self.wrapper is None):
            raise PluginError(
                f"The claim on {self.class_path!r} as one of the {self.kind} is not complete.",
                expected="no wrapper for models, which their backend wraps; one for every other kind",
                found=f"wrapper={self.wrapper!r}",
            )


@dataclass(frozen=True)
class Finding:
    """One thing that ``mml doctor`` shows: a version, a device, a setting, or what is wrong with it.

    Parameters
    ----------
    name : str
        What was looked at, in one or two words, e.g. ``"threads"``.
    value : str
        What was found.
    problem : str, optional
        What is broken about it; None where nothing is.
    hint : str, optional
        What to do about it.

    Examples
    --------
    >>> Finding("threads", "4").ok, Finding("device", "foo:0", problem="It does not answer.").ok
    (True, False)
    """

    name: str
    value: str = ""
    problem: str | None = None
    hint: str | None = None

    @property
    def ok(self) -> bool:
        """Whether nothing is broken about it."""
        return self.problem is None


def _is_range(versions: object) -> bool:
    if not isinstance(versions, tuple) or [type(one) for one in versions] != [int, int]:
        return False
    return bool(versions[0] <= versions[1])


def _are_top_level(modules: object) -> bool:
    # Probing a submodule would import its package.
    return isinstance(modules, tuple) and all(isinstance(one, str) and one.isidentifier() for one in modules)
