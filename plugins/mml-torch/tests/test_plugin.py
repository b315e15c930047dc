"""The hooks: what is declared resolves, and finding it loads no framework."""

import subprocess
import sys
import warnings

import pytest
import torch
from torch import nn

from mml.backends import Backend, get_backend
from mml.plugins import get_manager, registry
from mml_torch import plugin


def test_finding_the_plugin_loads_no_framework() -> None:
    script = (
        "import sys, mml_torch.plugin\n"
        "from mml.plugins import registry\n"
        "assert 'torch/mlp' in [one.qualified for one in registry('models')]\n"
        "assert 'torch' not in sys.modules, 'loaded'\n"
        "from mml_torch import MLP\n"
        "assert 'torch' in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("component", list(plugin.mml_components()), ids=lambda one: f"{one.kind}-{one.name}")
def test_every_component_loads(component: object) -> None:
    assert isinstance(component.load(), type)  # type: ignore[attr-defined]


def test_the_backend_is_found_by_name_and_claims_modules() -> None:
    assert Backend.TORCH == "torch"
    backend = get_backend("torch")
    assert backend.capabilities.gradients
    assert not backend.capabilities.fit
    claim = get_manager().claim_for(nn.Linear)
    assert claim is not None
    assert claim.backend == "torch"
    assert registry("losses").resolve("mse", backend="torch").qualified == "torch/mse"


def test_the_package_names_what_it_lacks() -> None:
    import mml_torch

    assert mml_torch.TorchBaseModel.backend == "torch"
    with pytest.raises(AttributeError, match="Nothing"):
        _ = mml_torch.Nothing


def test_the_doctor_is_told_threads_and_what_the_build_is_for() -> None:
    found = {one.name: one for one in get_manager().health("torch")}
    assert found["threads"].value.startswith(f"{torch.get_num_threads()} in an operation")
    built = f"CUDA {torch.version.cuda}" if torch.version.cuda else "the CPU only"
    assert found["built for"].value == built
    assert [name for name in found if name.startswith("cuda:")] == [
        f"cuda:{index}" for index in range(torch.cuda.device_count())
    ]


def test_the_doctor_is_told_why_an_accelerator_cannot_be_used(monkeypatch) -> None:
    def unavailable() -> bool:
        warnings.warn("The driver on your system is too old.", stacklevel=1)
        return False

    monkeypatch.setattr(torch.cuda, "is_available", unavailable)
    (broken,) = [one for one in get_manager().health("torch") if not one.ok]
    assert (broken.name, broken.problem) == ("cuda", "The driver on your system is too old.")


def test_the_doctor_is_told_of_an_accelerator_that_nobody_finds(monkeypatch, tmp_path) -> None:
    driver = tmp_path / "driver"
    driver.touch()
    monkeypatch.setattr("mml_torch.health._DRIVER", driver)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", None)
    told = {one.name: one for one in get_manager().health("torch")}
    assert told["cuda"].ok
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    told = {one.name: one for one in get_manager().health("torch")}
    assert not told["cuda"].ok
