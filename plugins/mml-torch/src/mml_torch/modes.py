"""Training flags of modules, set for a while and put back.

A module's flags are shared by everyone who holds it, so whoever changes them holds the lock of
`random_state` meanwhile. A class that overrides ``train`` (to keep its batch norm in inference mode, say) is
asked through it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from torch import nn


class ModeSwitch:
    """Puts modules into training or inference mode, and back.

    Parameters
    ----------
    modes : iterable of (nn.Module, bool)
        Each module with whether it trains.
    """

    def __init__(self, modes: Iterable[tuple[nn.Module, bool]]) -> None:
        self.modes = [(module, training, _overrides_train(module)) for module, training in modes]
        self.changed: list[tuple[nn.Module, bool]] = []

    def enter(self) -> None:
        """Set the flags; only those that differ cost anything."""
        for module, training, overridden in self.modes:
            parts = parts_of(module)
            if overridden:
                self.changed.extend((one, one.training) for one in parts)
                module.train(training)
                continue
            for one in parts:
                if one.training is not training:
                    self.changed.append((one, one.training))
                    one.training = training

    def leave(self) -> None:
        """Put the flags back; the first noted is the last put back, as a shared part may stand here twice."""
        for module, training in reversed(self.changed):
            module.training = training
        self.changed.clear()


def parts_of(module: nn.Module) -> list[nn.Module]:
    """Return a module and all modules inside it, as often as they stand there; faster than its own walk."""
    parts = [module]
    for one in parts:
        if one._modules:
            parts.extend([child for child in one._modules.values() if child is not None])
    return parts


@contextmanager
def inference_mode(module: nn.Module) -> Iterator[None]:
    """Keep one module in inference mode for a while."""
    switch = ModeSwitch([(module, False)])
    try:
        switch.enter()
        yield
    finally:
        switch.leave()


def _overrides_train(module: nn.Module) -> bool:
    return any(type(one).train is not nn.Module.train for one in parts_of(module))
