"""Rules of the house that no linter knows, checked on the files that git tracks."""

from __future__ import annotations

import ast
import re
import subprocess
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BACKENDS = re.compile(r"\b(torch|tensorflow|keras|sklearn|scikit-learn|jax)\b", re.IGNORECASE)
HEAVY = {"torch", "tensorflow", "keras", "jax", "sklearn", "pandas", "polars", "matplotlib", "scipy"}
UNSAFE = {"pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
VAGUE = {"util", "utils", "helper", "helpers", "common", "misc", "base2"}
# Folders that mean one machine; written in pieces, so that this file is not its own finding.
MACHINE = re.compile(r"(?<![\w./$}])/(?:" + "|".join(["work", "root", "home", "Users"]) + r")/")
MACHINE_IN_PROSE = re.compile(r"(?<![\w./$}])/(?:" + "|".join(["tmp", "opt", "mnt"]) + r")/")
TELLING_CALLS = ("raises", "warns", "assert", "check", "fail", "verify")


@cache
def _tracked() -> tuple[Path, ...]:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    ).stdout
    return tuple(path for name in listed.split("\0") if name and (path := ROOT / name).is_file())


def _python(pattern: str) -> list[Path]:
    return [path for path in _tracked() if path.suffix == ".py" and path.relative_to(ROOT).match(pattern)]


def _source() -> list[Path]:
    return [path for path in _tracked() if path.suffix == ".py" and "src" in path.relative_to(ROOT).parts]


def _core() -> list[Path]:
    return [path for path in _source() if path.relative_to(ROOT).parts[0] == "core"]


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


def _findings(paths: list[Path], pattern: re.Pattern[str]) -> list[str]:
    return [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in paths
        for number, line in enumerate(_text(path).splitlines(), start=1)
        if pattern.search(line)
    ]


def _imports(tree: ast.AST, *, module_level: bool) -> set[str]:
    nodes = ast.walk(tree) if not module_level else _eager(tree)
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.partition(".")[0])
    return names


def _eager(tree: ast.AST):
    """Yield the nodes that run at import: not those in functions, nor those for the type checker."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        yield node
        yield from _eager(node)


def test_core_names_no_backend():
    assert len(_core()) > 20
    assert _findings(_core(), BACKENDS) == []


def test_core_imports_nothing_heavy_at_module_level():
    found = {str(path): _imports(ast.parse(_text(path)), module_level=True) & HEAVY for path in _core()}
    assert {path: names for path, names in found.items() if names} == {}


def test_no_source_reads_code_from_data():
    found = {str(path): _imports(ast.parse(_text(path)), module_level=False) & UNSAFE for path in _source()}
    assert {path: names for path, names in found.items() if names} == {}


def test_no_tracked_file_names_a_folder_of_one_machine():
    files = [path for path in _tracked() if path.name != "LICENSE"]
    assert _findings(files, MACHINE) == []
    assert (
        _findings([path for path in files if path.suffix in {".md", ".toml", ".ini"}], MACHINE_IN_PROSE) == []
    )


def test_no_source_is_left_unfinished_or_swallows_an_exception_without_saying_why():
    assert _findings(_source(), re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")) == []
    swallowing = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in _source()
        for node in ast.walk(ast.parse(_text(path)))
        if isinstance(node, ast.ExceptHandler)
        and len(node.body) == 1
        and isinstance(node.body[0], ast.Pass | ast.Continue)
        and "#" not in "".join(_text(path).splitlines()[node.lineno - 1 : node.body[0].end_lineno])
    ]
    assert swallowing == []


def test_modules_are_named_for_what_they_hold_and_hold_one_idea():
    parts = {
        str(path.relative_to(ROOT)): {*path.relative_to(ROOT).parts[:-1], path.stem} for path in _source()
    }
    assert {name for name, words in parts.items() if words & VAGUE} == set()
    sizes = {str(path.relative_to(ROOT)): len(_text(path).splitlines()) for path in _source()}
    assert {name: size for name, size in sizes.items() if size > 500} == {}


def test_package_files_only_export():
    allowed = (ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign, ast.Expr)
    # A package may give its names lazily; that takes one function, PEP 562's.
    lazy = {"__getattr__", "__dir__"}
    wrong = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in _source()
        if path.name == "__init__.py"
        for node in ast.parse(_text(path)).body
        if not isinstance(node, allowed)
        and not (isinstance(node, ast.FunctionDef) and node.name in lazy)
        and not (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test))
    ]
    assert wrong == []


@pytest.mark.parametrize(
    "name", ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "constraints.txt"]
)
def test_the_files_that_a_stranger_looks_for_are_there(name):
    assert len(_text(ROOT / name)) > 200


def test_every_test_can_fail():
    empty = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
        for path in _python("test_*.py")
        for node in ast.walk(ast.parse(_text(path)))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
        and not any(_tells(part) for part in ast.walk(node))
    ]
    assert len(_python("test_*.py")) > 5
    assert empty == []


def _tells(node: ast.AST) -> bool:
    if isinstance(node, ast.Assert):
        return True
    return isinstance(node, ast.Call) and any(word in ast.unparse(node.func) for word in TELLING_CALLS)


def test_everything_installed_by_the_matrix_is_pinned_to_one_version():
    lines = [
        line for line in _text(ROOT / "constraints.txt").splitlines() if line and not line.startswith("#")
    ]
    assert lines
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][0-9A-Za-z.]*", line)] == []
