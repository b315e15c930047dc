"""The pages of docs/ are true: every Python block runs, and prints what the page says that it prints.

A page is one program. Its ``python`` blocks run in order in a process of their own, in an empty folder; a
``text`` block right behind one holds exactly what that one printed.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
_BLOCK = re.compile(r"^```(python|text)\n(.*?)^```$", flags=re.DOTALL | re.MULTILINE)
_MARK = "----- end of block {} -----"
_STRICT = "import warnings, mml; warnings.simplefilter('error', mml.errors.MMLWarning); del warnings"


def blocks(text: str) -> list[tuple[str, str | None]]:
    """Return the Python blocks of a page, each with the output that the page promises."""
    found: list[tuple[str, str | None]] = []
    end = -1
    for match in _BLOCK.finditer(text):
        kind, body = match.groups()
        if kind == "python":
            found.append((body, None))
        elif found and not text[end : match.start()].strip():
            found[-1] = (found[-1][0], body)
        end = match.end()
    return found


def printed(codes: list[str], folder: Path) -> list[str]:
    """Run blocks as one program and return what each of them printed."""
    marked = "\n".join(f"{code}\nprint({_MARK.format(n)!r})" for n, code in enumerate(codes))
    ran = subprocess.run(
        # Not by -W, which knows the categories of the standard library only.
        [sys.executable, "-c", f"{_STRICT}\n{marked}"],
        cwd=folder,
        env={**os.environ, "MML_PROGRESS": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    parts, rest = [], ran.stdout
    for number in range(len(codes)):
        part, rest = rest.split(f"{_MARK.format(number)}\n", 1)
        parts.append(part)
    return parts


@pytest.mark.parametrize("page", PAGES, ids=[page.stem for page in PAGES])
def test_its_code_runs_and_prints_what_it_says(page, tmp_path):
    found = blocks(page.read_text(encoding="utf-8"))
    outputs = printed([code for code, _ in found], tmp_path)
    wrong = {
        code: (expected, output)
        for (code, expected), output in zip(found, outputs, strict=True)
        if expected is not None and expected.strip() != output.strip()
    }
    assert wrong == {}


@pytest.mark.parametrize("page", PAGES, ids=[page.stem for page in PAGES])
def test_its_links_lead_somewhere(page):
    links = [one for one in re.findall(r"\]\(([^)#]+)\)", page.read_text()) if "://" not in one]
    assert [one for one in links if not (page.parent / one).exists()] == []


def test_a_page_that_promises_something_else_is_found_out():
    code = "```python\nprint(1 + 1)\n```\n\n```text\n3\n```\n"
    ((_, expected),) = blocks(code)
    assert expected == "3\n"
