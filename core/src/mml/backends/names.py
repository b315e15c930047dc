"""`Backend`: the open set of backend names, which reads like an enum.

``Backend.NUMPY`` is core's own; any other attribute is a name that an installed plugin declared. The set is
open because plugins are.
"""

from __future__ import annotations

from collections.abc import Iterator

from mml.errors import BackendError, did_you_mean


class _OpenNames(type):
    def __getattr__(cls, attribute: str) -> str:
        if attribute.startswith("_"):
            raise AttributeError(attribute)
        name = attribute.lower()
        if name not in cls:
            raise BackendError(
                f"No installed plugin brings a backend {name!r}.", hint=did_you_mean(name, list(cls))
            )
        return name

    def __contains__(cls, name: object) -> bool:
        return name in list(cls)

    def __iter__(cls) -> Iterator[str]:
        from mml.plugins import registry

        return iter(sorted(component.name for component in registry("backends")))


class Backend(metaclass=_OpenNames):
    """Names of the backends that are installed.

    Examples
    --------
    >>> Backend.NUMPY
    'numpy'
    >>> "numpy" in Backend
    True
    """

    NUMPY = "numpy"
