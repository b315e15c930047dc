"""`ModelGraph(jit_compile=True)`: the framework's compiler runs the modules, and the numbers stay."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

import mml
from mml.errors import MMLError

# In a process of its own: the compiler sets environment variables, and warns of itself while it traces.
SCRIPT = """
import json
import numpy as np
import torch
import mml

compiled, real = [], torch.compile
torch.compile = lambda module: compiled.append(type(module).__name__) or real(module)
found = []
for jit_compile in (False, True):
    with mml.ExperimentContext().activate():
        rng = np.random.default_rng(0)
        x = rng.normal(size=(50, 5)).astype("float32")
        data = {"x": x, "y": x.sum(1, keepdims=True)}
        rows = mml.FeatureSet.from_dict("rows", data, feature_keys="x", target_keys="y")
        part = mml.Model("torch/mlp", hidden=[8], output_shape=6, batch_norm=True)
        trunk = mml.ModelNode("trunk", part, rows)
        head = mml.ModelNode("head", mml.Model("torch/mlp", hidden=[], output_shape=1), trunk)
        # A bias before batch norm has no gradient but rounding, which Adam would make as large as any.
        sgd = mml.Optimizer("sgd", lr=0.05)
        made = mml.Experiment("toy", mml.ModelGraph([trunk, head], optimizer=sgd, jit_compile=jit_compile))
        loss = mml.AppliedLoss("mse", on="head")
        # The last batch is shorter: a compiled module meets another number of rows.
        batches = mml.SimpleSampler(batch_size=16, shuffle=True, seed=0)
        train = mml.TrainPhase.from_split("train", split=None, sampler=batches, losses=[loss], n_epochs=3)
        test = mml.EvalPhase.from_split("test", split=None, losses=[loss])
        losses = [made.run_phase(phase).losses("head").values.tolist() for phase in (train, test)]
        found.append([losses, list(compiled)])
print(json.dumps(found))
"""


def test_the_numbers_are_those_without():
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env={**os.environ, "MML_PROGRESS": "0", "TORCHINDUCTOR_COMPILE_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (plain, none), (jitted, modules) = json.loads(done.stdout)
    assert (none, modules) == ([], ["MLP", "MLP"] * 2)
    for expected, seen in zip(plain, jitted, strict=True):
        np.testing.assert_allclose(seen, expected, rtol=2e-5)


def test_what_the_compiler_refuses_names_the_node_and_the_mend(monkeypatch):
    from torch._dynamo.exc import BackendCompilerFailed

    def refuse(module):
        def run(inputs):
            raise BackendCompilerFailed(lambda: None, RuntimeError("no C++ compiler"), None)

        return run

    monkeypatch.setattr(torch, "compile", refuse)
    rows = mml.FeatureSet.from_dict(
        "rows", {"x": np.ones((5, 2)), "y": np.ones((5, 1))}, feature_keys="x", target_keys="y"
    )
    trunk = mml.ModelNode("trunk", mml.Model("torch/mlp", output_shape=1), rows)
    graph = mml.ModelGraph([trunk], optimizer="adam", jit_compile=True)
    train = mml.TrainPhase.from_split(
        "train",
        split=None,
        sampler=mml.SimpleSampler(batch_size=2),
        losses=[mml.AppliedLoss("mse", on="trunk")],
    )
    with pytest.raises(MMLError, match=r"no C\+\+ compiler(.|\n)*node 'trunk'(.|\n)*Leave jit_compile out"):
        mml.Experiment("toy", graph).run_phase(train)
