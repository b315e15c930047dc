"""Every test has a context of its own, so that labels can be the same in all of them."""

import pytest

import mml


@pytest.fixture(autouse=True)
def _own_context():
    with mml.ExperimentContext(policy="error").activate():
        yield
