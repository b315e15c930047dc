"""What `mml doctor` shows of TensorFlow: threads, the build, GPUs, and the engine that Keras runs on."""

from __future__ import annotations

import os
from collections.abc import Iterator

import tensorflow as tf

from mml.plugins import Finding


def findings() -> Iterator[Finding]:
    """Yield threads, what TensorFlow was built for, one row for each GPU, and Keras' engine."""
    within = tf.config.threading.get_intra_op_parallelism_threads() or "every core"
    between = tf.config.threading.get_inter_op_parallelism_threads() or "every core"
    yield Finding("threads", f"{within} in an operation, {between} between them")
    yield Finding("built for", _build())
    for device in tf.config.list_physical_devices("GPU"):
        details = tf.config.experimental.get_device_details(device)
        yield Finding(device.name.rpartition("physical_device:")[2], str(details.get("device_name", "a GPU")))
    yield Finding("keras engine", _engine())


def _build() -> str:
    info = tf.sysconfig.get_build_info()
    return f"CUDA {info.get('cuda_version', '')}".strip() if info.get("is_cuda_build") else "the CPU only"


def _engine() -> str:
    import keras

    engine = keras.backend.backend()
    asked = os.environ.get("KERAS_BACKEND")
    source = f"KERAS_BACKEND={asked}" if asked else "KERAS_BACKEND not set"
    if engine == "tensorflow":
        return f"{engine} ({source})"
    return f"{engine} ({source}): models of Keras do not run on TensorFlow in such a process"
