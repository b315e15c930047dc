"""The hooks: what is declared resolves, and finding it loads no framework."""

import subprocess
import sys

import pytest
import tensorflow as tf

from mml.backends import Backend, get_backend
from mml.plugins import get_manager, registry
from mml_tf import plugin


def test_finding_the_plugin_loads_no_framework() -> None:
    script = (
        "import sys, mml_tf.plugin\n"
        "from mml.plugins import registry\n"
        "assert 'tensorflow/mlp' in [one.qualified for one in registry('models')]\n"
        "assert not {'tensorflow', 'keras'} & set(sys.modules), 'loaded'\n"
        "from mml_tf import MLP\n"
        "assert 'tensorflow' in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("component", list(plugin.mml_components()), ids=lambda one: f"{one.kind}-{one.name}")
def test_every_component_loads(component: object) -> None:
    assert isinstance(component.load(), type)  # type: ignore[attr-defined]


def test_the_backend_is_found_by_name_and_claims_modules() -> None:
    assert Backend.TENSORFLOW == "tensorflow"
    backend = get_backend("tensorflow")
    assert backend.capabilities.gradients
    assert backend.capabilities.compiler
    assert not backend.capabilities.fit

    class Mine(tf.Module):
        pass

    claim = get_manager().claim_for(Mine)
    assert claim is not None
    assert claim.backend == "tensorflow"
    assert registry("losses").resolve("mse", backend="tensorflow").qualified == "tensorflow/mse"
    assert registry("optimizers").resolve("adam", backend="tensorflow").qualified == "tensorflow/adam"


def test_keras_objects_are_left_to_a_plugin_that_claims_them_too() -> None:
    ours = {one.class_path: one.priority for one in plugin.mml_claims()}
    assert ours.pop("tensorflow.python.module.module.Module") == 0
    assert set(ours.values()) == {-1}
    assert all(path.startswith("keras.src.") for path in ours)


def test_importing_the_plugin_changes_nothing_in_the_process() -> None:
    script = (
        "import os, random, sys, threading\n"
        "import numpy as np, tensorflow as tf\n"
        "from tensorflow.python.eager import context\n"
        "from tensorflow.python.framework import config\n"
        "def look():\n"
        "    framework = context.context()\n"
        "    return (dict(os.environ), random.getstate(), np.random.get_state()[1].tobytes(),\n"
        "            framework._seed, vars(framework).get('_rng'), threading.active_count(),\n"
        "            tf.config.threading.get_intra_op_parallelism_threads(),\n"
        "            tf.config.functions_run_eagerly(),\n"
        "            config.is_op_determinism_enabled())\n"
        "before = look()\n"
        "import mml_tf.backend, mml_tf.models\n"
        "assert look() == before\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_package_names_what_it_lacks() -> None:
    import mml_tf

    assert mml_tf.TensorflowBaseModel.backend == "tensorflow"
    with pytest.raises(AttributeError, match="Nothing"):
        _ = mml_tf.Nothing


def test_the_doctor_is_told_threads_the_build_and_keras_engine() -> None:
    found = {one.name: one.value for one in get_manager().health("tensorflow")}
    assert found["threads"].endswith("between them")
    assert found["built for"] in ("the CPU only", f"CUDA {tf.sysconfig.get_build_info().get('cuda_version')}")
    assert found["keras engine"].split()[0] == tf.keras.backend.backend()
    assert len(found) == 3 + len(tf.config.list_physical_devices("GPU"))


def test_the_doctor_is_told_where_keras_runs_on_something_else(monkeypatch: pytest.MonkeyPatch) -> None:
    import keras

    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    found = {one.name: one.value for one in get_manager().health("tensorflow")}
    assert found["keras engine"].startswith("jax (KERAS_BACKEND=jax)")
    assert "do not run on TensorFlow" in found["keras engine"]
