"""Source texts of classes are found where there are any, and are only text."""

from __future__ import annotations

import subprocess
import sys

from mml.files import class_source, collect_sources


class Example:
    """A class whose text is known."""

    answer = 42


def test_the_text_of_a_class_is_found():
    text = class_source(Example)
    assert text.startswith("class Example:")
    assert "answer = 42" in text


def test_classes_without_text_have_none():
    made = type("Made", (), {"__module__": "nowhere"})
    assert class_source(int) is None
    assert class_source(made) is None


def test_texts_are_collected_by_import_path():
    assert collect_sources([Example, int]) == {f"{__name__}.Example": class_source(Example)}


def test_importing_the_floor_loads_nothing_heavy():
    code = "import sys, mml.files; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "msgspec" in loaded
    assert loaded.isdisjoint({"safetensors", "pandas", "polars", "scipy", "matplotlib"})
