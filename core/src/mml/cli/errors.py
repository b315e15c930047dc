"""From errors to messages and exit statuses: 0 success, 1 a run failed, 2 wrong usage or a bad document."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from mml.errors import DocumentError, MMLError

SUCCESS, FAILED, WRONG_USAGE = 0, 1, 2


@contextmanager
def reporting(*, debug: bool) -> Iterator[None]:
    """Turn an `MMLError` inside into its text on standard error, and an exit status.

    Errors that are not MML's are defects, and keep their traceback.

    Parameters
    ----------
    debug : bool
        Show the traceback of MML's errors too.
    """
    try:
        yield
    except MMLError as error:
        if debug:
            traceback.print_exc()
        else:
            sys.stderr.write(f"{error}\n")
        raise typer.Exit(WRONG_USAGE if isinstance(error, DocumentError) else FAILED) from error
