"""The hooks: what is declared resolves, and finding it loads no framework."""

import subprocess
import sys

import pytest
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
