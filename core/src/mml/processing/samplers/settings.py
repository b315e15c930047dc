"""Settings that samplers share: checked on construction, and written down as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from typing import Any, TypeVar

import numpy as np

from mml.configuration import made_with, registered_name, settings_beside
from mml.data import FeatureSet, FeatureSetView
from mml.errors import ConfigError, DataError, SamplerError, did_you_mean
from mml.plugins import registry
from mml.protocols import Config

Made = TypeVar("Made")


def checked_batch_size(value: Any) -> int:
    """Return a batch size as an int from 1."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise SamplerError("A batch size is a whole number.", found=repr(value))
    if value < 1:
        raise SamplerError("A batch has at least one row.", found=f"batch_size={value}")
    return int(value)


def checked_seed(value: Any) -> int | None:
    """Return a seed as an int from 0, or None."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 0:
        raise SamplerError("A seed is an integer from 0.", found=repr(value))
    return int(value)


def checked_epoch(value: Any) -> int:
    """Return the number of an epoch as an int from 0."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 0:
        raise SamplerError("Epochs are numbered from 0.", found=f"{type(value).__name__}: {value!r}"[:80])
    return int(value)


def checked_flag(name: str, value: Any) -> bool:
    """Return a setting that is True or False."""
    if not isinstance(value, (bool, np.bool_)):
        raise SamplerError(f"`{name}` is True or False.", found=repr(value))
    return bool(value)


def checked_choice(name: str, value: Any, allowed: Iterable[str]) -> str:
    """Return a setting that is one of several words."""
    words = tuple(allowed)
    if not isinstance(value, str) or value not in words:
        raise SamplerError(f"Unknown {name} {value!r}.", hint=did_you_mean(str(value), words))
    return value


def checked_columns(name: str, value: Any) -> tuple[str, ...] | None:
    """Return a setting that names columns as a tuple, None where it names none."""
    refuse_set(f"`{name}`", value)
    if not isinstance(value, str | Iterable | None):
        raise SamplerError(f"`{name}` names columns.", expected="a string or a list", found=repr(value))
    columns = (value,) if isinstance(value, str) else () if value is None else tuple(value)
    for one in columns:
        if not isinstance(one, str) or not one:
            raise SamplerError(f"`{name}` names columns.", expected="strings", found=repr(one))
    return columns or None


def refuse_set(what: str, value: Any) -> None:
    """Raise a SamplerError for sets: what derives from their order would change with the process."""
    if isinstance(value, set | frozenset):
        raise SamplerError(
            f"{what} is given as a set, whose order differs from process to process.",
            found=repr(value)[:80],
            hint="Give a list.",
        )


def config_of(sampler: Any, name: str) -> Config:
    """Return the fields of a sampler as JSON-compatible values, beside its registered name."""
    return {"sampler": name, **{one.name: _plain(getattr(sampler, one.name)) for one in fields(sampler)}}


def made_from(cls: type[Made], config: Any) -> Made:
    """Return a sampler made with the settings of its configuration.

    Raises
    ------
    ConfigError
        If it is no mapping, is of another sampler, or holds settings that the class does not take.
    SamplerError
        If one of them is wrong.
    """
    if not isinstance(config, Mapping):
        raise ConfigError("The configuration of a sampler is no mapping.", found=repr(config))
    if "sampler" in config:
        _require_own_name(cls, registered_name(dict(config), "sampler"))
    return made_with(cls, settings_beside(dict(config), "sampler"))


def _require_own_name(cls: type, name: str) -> None:
    # A Python path names a class that was imported to get here; nothing is imported for it again.
    is_path = "/" not in name and name.replace(":", ".").rpartition(".")[2] == cls.__name__
    if is_path or issubclass(cls, registry("samplers").resolve(name, allow_import=False).load()):
        return
    raise ConfigError(
        f"This is the configuration of another sampler than {cls.__name__}.",
        found=repr(name),
        hint="Read it by its name: registry('samplers').load(config['sampler']).from_config(config).",
    )


def key_of(sampler: Any) -> tuple[Any, ...]:
    """Return the settings of a sampler as a hashable key."""
    values = (getattr(sampler, one.name) for one in fields(sampler))
    return (
        type(sampler).__qualname__,
        *(value.key() if hasattr(value, "key") else value for value in values),
    )


def as_view(rows: Any) -> FeatureSetView:
    """Return what a sampler is bound to as a view that holds rows.

    Raises
    ------
    SamplerError
        If it is neither a view nor a FeatureSet, or empty.
    """
    view = rows.view() if isinstance(rows, FeatureSet) else rows
    if not isinstance(view, FeatureSetView):
        raise SamplerError(
            "A sampler draws from the rows of a view.",
            expected="a FeatureSetView such as featureset['train']",
            found=f"{type(rows).__name__}: {rows!r}",
        )
    if not view.n_samples:
        raise SamplerError("There are no rows to sample.", where={"view": view.label})
    return view


@contextmanager
def told_as_sampler_error(view: FeatureSetView) -> Iterator[None]:
    """Tell errors about columns as errors of the sampler that asked for them, with the view's label."""
    try:
        yield
    except SamplerError as error:
        raise error.located({"view": view.label}) from error.__cause__
    except DataError as error:
        told = SamplerError(error.what, expected=error.expected, found=error.found, hint=error.hint)
        told.places = list(error.places)
        raise told.located({"view": view.label}) from error


def _plain(value: Any) -> Any:
    if hasattr(value, "get_config"):
        return value.get_config()
    if isinstance(value, Mapping):
        return {name: _plain(one) for name, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, tuple) else value
