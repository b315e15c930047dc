"""The hooks: what is declared resolves, finding it loads no framework, and engines are told apart."""

import os
import subprocess
import sys
import textwrap

import keras
import pytest

from mml.backends import Backend, get_backend
from mml.plugins import get_manager, registry
from mml_keras3 import plugin


def _run(script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )


def test_finding_the_plugin_loads_neither_keras_nor_an_engine() -> None:
    done = _run(
        """
        import os, sys
        before = dict(os.environ)
        import mml_keras3.plugin
        from mml.plugins import registry
        assert "keras3/mlp" in [one.qualified for one in registry("models")]
        loaded = {"keras", "jax", "tensorflow", "torch"} & set(sys.modules)
        assert not loaded, loaded
        assert dict(os.environ) == before, "the environment was changed"
        from mml_keras3 import MLP
        assert "keras" in sys.modules
        """
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("component", list(plugin.mml_components()), ids=lambda one: f"{one.kind}-{one.name}")
def test_every_component_loads(component: object) -> None:
    assert isinstance(component.load(), type)  # type: ignore[attr-defined]


def test_the_backend_is_found_by_name_and_claims_layers_losses_and_optimizers() -> None:
    assert Backend.KERAS3 == "keras3"
    backend = get_backend("keras3")
    assert backend.capabilities.gradients
    assert not backend.capabilities.fit
    claimed = (keras.layers.Dense, keras.Sequential, keras.losses.Huber, keras.optimizers.Adam)
    for cls in claimed:
        claim = get_manager().claim_for(cls)
        assert claim is not None
        assert claim.backend == "keras3"
    assert registry("losses").resolve("mse", backend="keras3").load() is not None


def test_the_package_names_what_it_lacks() -> None:
    import mml_keras3

    assert mml_keras3.KerasBaseModel.backend == "keras3"
    with pytest.raises(AttributeError, match="Nothing"):
        _ = mml_keras3.Nothing


def test_another_engine_than_asked_for_is_refused_naming_both() -> None:
    engine = keras.backend.backend()
    other = "torch" if engine != "torch" else "jax"
    done = _run(
        f"""
        import keras, os
        os.environ["KERAS_BACKEND"] = {other!r}
        from mml.backends import get_backend
        from mml.errors import MMLError
        try:
            get_backend("keras3")
        except MMLError as refusal:
            print(refusal)
        """,
        KERAS_BACKEND=engine,
    )
    assert f"Keras runs on {engine!r}" in done.stdout, done.stderr
    assert f"asks for {other!r}" in done.stdout
    assert "before Python starts" in done.stdout


def test_an_engine_that_is_not_installed_is_told_with_its_install() -> None:
    done = _run(
        """
        import sys
        sys.modules["jax"] = None  # as if it were not installed
        from mml.errors import MMLError
        from mml.plugins import registry
        try:
            registry("models").load("mlp", backend="keras3")
        except MMLError as refusal:
            print(refusal)
        """,
        KERAS_BACKEND="jax",
    )
    assert "pip install jax" in done.stdout, done.stderr + done.stdout
    assert "KERAS_BACKEND" in done.stdout


def test_an_engine_that_trains_nothing_is_refused() -> None:
    done = _run(
        """
        from mml.errors import MMLError
        from mml.plugins import registry
        try:
            registry("backends").load("keras3")
        except MMLError as refusal:
            print(refusal)
        """,
        KERAS_BACKEND="numpy",
    )
    assert "'numpy'" in done.stdout, done.stderr
    assert "KERAS_BACKEND=" in done.stdout
