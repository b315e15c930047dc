"""What `mml doctor` shows of scikit-learn: the libraries that compute for it, and their threads."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from threadpoolctl import threadpool_info

from mml.plugins import Finding


def findings() -> Iterator[Finding]:
    """Yield each pool of threads in this process once scikit-learn runs."""
    # A pool is there once its library is loaded: a product of matrices, and k-means on OpenMP.
    import sklearn.cluster

    square = np.ones((2, 2))
    sklearn.cluster.KMeans(n_clusters=1, n_init=1, random_state=0).fit(square @ square)
    told = set()
    for pool in threadpool_info():
        version = f" {pool['version']}" if pool.get("version") else ""
        text = f"{pool['num_threads']} in {pool['internal_api']}{version} ({pool['user_api']})"
        if text not in told:
            told.add(text)
            yield Finding("threads", text)
