"""The process-wide state is lent out and comes back, also after a failure."""

import pytest
import torch

from mml_torch import random_state


def test_generators_and_determinism_come_back_after_a_failure() -> None:
    before = torch.default_generator.get_state()

    def fails() -> None:
        with random_state.swapped(deterministic=True):
            random_state.seed_generators(3)
            torch.rand(5)
            assert torch.are_deterministic_algorithms_enabled()
            raise ArithmeticError

    with pytest.raises(ArithmeticError):
        fails()
    assert torch.equal(torch.default_generator.get_state(), before)
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.parametrize("seed", [0, 1, 2**62 + 12345, 2**63 - 1])
def test_a_seed_gives_one_stream(seed: int) -> None:
    draws = []
    for _ in range(2):
        with random_state.swapped():
            random_state.seed_generators(seed)
            draws.append(torch.rand(5))
    assert torch.equal(*draws)


def test_scopes_nest() -> None:
    with random_state.swapped():
        random_state.seed_generators(1)
        expected = torch.rand(3)
        random_state.seed_generators(1)
        with random_state.swapped():
            torch.rand(7)
        assert torch.equal(torch.rand(3), expected)
