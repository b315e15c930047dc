"""Works through a mapped file with less memory than the file has; run as a program by its test.

Writes how the process's private memory grew as it went, as JSON.
"""

from __future__ import annotations

import json
import resource
import sys

import numpy as np

from mml.data import FeatureSet

LIMIT = 150 << 20


def kept_bytes(field: str) -> int:
    """Return a field of the process's status, in bytes."""
    with open("/proc/self/status") as file:
        line = next(line for line in file if line.startswith(field))
    return int(line.split()[1]) * 1024


def main(path: str) -> None:
    """Read, split, scale, gather and summarise what lies in a file."""
    start, grown = kept_bytes("RssAnon"), {}
    # Beyond this, allocating fails: whoever copies the file into memory does not get to the end.
    resource.setrlimit(resource.RLIMIT_DATA, (kept_bytes("VmData") + LIMIT, -1))
    fs = FeatureSet.from_ipc("mapped", path, feature_keys="x", target_keys="y", tag_keys="group")
    grown["open"] = kept_bytes("RssAnon") - start
    fs.split_random(ratios={"train": 0.75, "test": 0.25}, seed=0, group_by="group")
    fs.fit_transform("standard", domain="features", fit_to_split="train")
    grown["split and scale"] = kept_bytes("RssAnon") - start
    source, rows = fs.snapshot(), fs["train"].rows
    order = np.random.default_rng(0).permutation(rows)[: len(rows) // 4]
    for first in range(0, len(order), 512):
        source.take("features.x.transformed", order[first : first + 512])
    grown["gather"] = kept_bytes("RssAnon") - start
    fs.summary()
    grown["summary"] = kept_bytes("RssAnon") - start
    sys.stdout.write(json.dumps({"limit": LIMIT, "n_rows": len(fs), "grown": grown}))


if __name__ == "__main__":
    main(sys.argv[1])
