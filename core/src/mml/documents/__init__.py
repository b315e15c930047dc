"""Experiments as documents: YAML that is read, checked and built, and never executed."""

from mml.documents.document import ExperimentDocument, load_document
from mml.documents.json_schema import json_schema
from mml.documents.mistakes import DocumentMistakesError, Mistake

__all__ = ["DocumentMistakesError", "ExperimentDocument", "Mistake", "json_schema", "load_document"]
