"""`ExperimentDocument`: a whole experiment as text, checked, and built when somebody asks for it."""

from __future__ import annotations

from collections.abc import Iterable
from os import PathLike
from pathlib import Path
from typing import Any

from mml.documents.builder import Builder
from mml.documents.format import DocumentSpec
from mml.documents.mistakes import DocumentMistakesError, Mistake, document_error
from mml.documents.mistakes import Path as DocumentPath
from mml.documents.overrides import apply_overrides
from mml.documents.parts import ComponentUse
from mml.documents.reader import Reader
from mml.documents.settings import check_settings
from mml.documents.yaml_tree import MAX_BYTES, Lines, parse_yaml
from mml.experiment import Experiment
from mml.experiment.progress import ProgressDisplay


class ExperimentDocument:
    """An experiment document whose keys, types and names are right.

    Parameters
    ----------
    tree : dict
        What the YAML says.
    name : str
        What to call it in messages, such as its path.
    lines : dict of path to int
        Where everything stands in the text.
    folder : Path, optional
        Where relative file names in it begin; the working directory where left out.
    allow_imports : bool
        Whether components may be given as Python paths, which imports code. A document from elsewhere should
        not be able to.
    places : dict of path to str, optional
        What was overridden, and by what.

    Raises
    ------
    DocumentError
        With every mistake: line, path, what was expected and found, and what may be meant.
    """

    def __init__(
        self,
        tree: Any,
        *,
        name: str,
        lines: Lines,
        folder: Path | None = None,
        allow_imports: bool = False,
        places: dict[DocumentPath, str] | None = None,
    ) -> None:
        self.name = name
        self.tree = tree
        self.folder = folder or Path()
        self.allow_imports = allow_imports
        self._places = places or {}
        # Below an override the text's lines say nothing any more.
        self._lines = {
            path: line
            for path, line in lines.items()
            if not any(path[: len(changed)] == changed for changed in self._places)
        }
        reader = Reader(tree, allow_imports=allow_imports)
        spec = reader.read()
        if spec is None:
            raise self._error(reader.mistakes)
        self.spec: DocumentSpec = spec
        self.components: tuple[ComponentUse, ...] = tuple(reader.components)

    @classmethod
    def from_text(
        cls,
        text: str | bytes,
        *,
        name: str = "the document",
        folder: Path | None = None,
        overrides: Iterable[str] = (),
        allow_imports: bool = False,
    ) -> ExperimentDocument:
        """Read a text; see `load_document` for the arguments."""
        parsed = parse_yaml(text, name=name)
        tree, places = apply_overrides(parsed.tree, overrides)
        return cls(
            tree, name=name, lines=parsed.lines, folder=folder, allow_imports=allow_imports, places=places
        )

    def with_overrides(self, assignments: Iterable[str]) -> ExperimentDocument:
        """Return a document with other values.

        Parameters
        ----------
        assignments : iterable of str
            Such as ``"seed=3"`` and ``"plan.train.epochs=5"``; values are YAML.
        """
        tree, places = apply_overrides(self.tree, assignments)
        return ExperimentDocument(
            tree,
            name=self.name,
            lines=self._lines,
            folder=self.folder,
            allow_imports=self.allow_imports,
            places={**self._places, **places},
        )

    def check(self) -> None:
        """Check what loading alone does not: settings against the components, and how parts fit together.

        Components are imported for it, and with them their frameworks; no data is read.

        Raises
        ------
        DocumentError
            With every mistake that was found.
        """
        mistakes = check_settings(self.components, allow_imports=self.allow_imports)
        if mistakes:
            raise self._error(mistakes)
        self._builder(with_data=False).experiment(progress=ProgressDisplay())

    def build(self, *, progress: ProgressDisplay | None = None) -> Experiment:
        """Return the experiment, with its data in a context of its own.

        Parameters
        ----------
        progress : ProgressDisplay, optional
            Who shows how runs go; chosen from the surroundings where left out.

        Raises
        ------
        DocumentError
            If a part cannot be made; its line and path are named and the cause is chained.
        """
        mistakes = check_settings(self.components, allow_imports=self.allow_imports)
        if mistakes:
            raise self._error(mistakes)
        return self._builder(with_data=True).experiment(progress=progress)

    def _builder(self, *, with_data: bool) -> Builder:
        return Builder(self.spec, fail=self._failed, folder=self.folder, with_data=with_data)

    def _failed(self, path: DocumentPath, error: Exception) -> DocumentMistakesError:
        return self._error([Mistake.of(path, error)])

    def _error(self, mistakes: Iterable[Mistake]) -> DocumentMistakesError:
        return document_error(self.name, [self._located(one) for one in mistakes])

    def _located(self, mistake: Mistake) -> Mistake:
        """Add the line, or the override, that the nearest known part of the path came from."""
        if mistake.line is not None or mistake.place is not None:
            return mistake
        for length in range(len(mistake.path), -1, -1):
            near = mistake.path[:length]
            if near in self._places:
                return mistake.at(place=self._places[near])
            if near in self._lines:
                below = [
                    one for path, one in self._places.items() if path[: len(mistake.path)] == mistake.path
                ]
                return mistake.at(line=self._lines[near], place=f"with {', '.join(below)}" if below else None)
        return mistake

    def __repr__(self) -> str:
        return f"ExperimentDocument({self.name!r}, {self.spec.label!r})"


def load_document(
    path: str | PathLike[str], *, overrides: Iterable[str] = (), allow_imports: bool = False
) -> ExperimentDocument:
    """Read an experiment document.

    Parameters
    ----------
    path : path
        A YAML file.
    overrides : iterable of str
        Values to replace, such as ``"seed=3"``.
    allow_imports : bool
        Whether components may be given as Python paths, which imports code.

    Raises
    ------
    DocumentError
        If the file cannot be read, or with every mistake in it.

    Examples
    --------
    >>> experiment = load_document("breast_cancer.yaml", overrides=["seed=3"]).build()  # doctest: +SKIP
    """
    file = Path(path)
    try:
        with file.open("rb") as stream:
            # One byte more than allowed tells a file that is too long from one that just fits.
            text = stream.read(MAX_BYTES + 1)
    except OSError as cause:
        mistake = Mistake((), "The document cannot be read.", found=cause.strerror or str(cause))
        raise document_error(str(path), [mistake]) from cause
    return ExperimentDocument.from_text(
        text, name=str(path), folder=file.parent, overrides=overrides, allow_imports=allow_imports
    )
