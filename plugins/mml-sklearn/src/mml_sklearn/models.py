"""The wrapper of one estimator: built for a shape, fitted or trained batch by batch, run, saved and put back.

It works on the user's own object, which is fitted as scikit-learn would fit it. It knows nothing of segments.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy as np

from mml.backends import BaseModel, VariableSpec
from mml.errors import MMLError, ModelError, ShapeError
from mml.protocols import Config, State
from mml_sklearn.arguments import arguments_of, name_of
from mml_sklearn.calls import explained, must_have_targets, not_fitted, takes_targets
from mml_sklearn.convert import as_matrix, as_output, as_targets, n_features_of, overwrites_inputs
from mml_sklearn.outputs import output_method
from mml_sklearn.random_state import open_parameters, seeded
from mml_sklearn.states import copied_values, estimator_of, state_of
from mml_sklearn.unmade import Unmade
from mml_sklearn.widths import fitted_shape, promised_shape

Shape = tuple[int, ...]


class ScikitWrapper(BaseModel):
    """An estimator as a model of the graph.

    Inputs of shape (rows, ...) are ravelled to (rows, features); targets with one value a row reach the
    estimator as (rows,); outputs have at least two axes, one value a row being (rows, 1).

    Parameters
    ----------
    estimator : sklearn estimator or Unmade
        Fitted or not; used itself, not cloned. One that takes the shape of its input is made by `build`.
    output : str, optional
        The method that gives the output; by default the first of `transform`, `predict_proba` and `predict`
        that the estimator has.
    declared : tuple of int, optional
        Shape of one output row, where the user says so.
    written : dict, optional
        ``model`` and ``kwargs`` of a factory that made the estimator, for the configuration.
    label : str
        Label of the node, for messages.

    Raises
    ------
    ModelError
        If it is no estimator, or has no such method.

    Examples
    --------
    >>> from sklearn.svm import SVC
    >>> ScikitWrapper(SVC(), output="decision_function").output
    'decision_function'
    """

    backend: ClassVar[str] = "sklearn"

    def __init__(
        self,
        estimator: Any,
        *,
        output: str | None = None,
        declared: Shape | None = None,
        written: Config | None = None,
        label: str = "",
    ) -> None:
        self.label = label or None
        self.chosen_output = output
        self.output = output
        self._declared = declared
        self._written = written
        self._unmade = estimator if isinstance(estimator, Unmade) else None
        self._seed = 0
        self._initial: dict[str, Any] | None = None
        self._input_shape: Shape | None = None
        self._promised: Shape | None = None
        self._seen: Shape | None = None
        self.estimator: Any = None
        if self._unmade is None:
            self._adopt(estimator)

    def _adopt(self, estimator: Any) -> None:
        _require_estimator(estimator, self.label)
        self.estimator = estimator
        self.output = output_method(estimator, self.chosen_output, node=self.label)
        self._open_parameters = open_parameters(estimator)
        self._overwrites = overwrites_inputs(estimator)

    def build(self, input_shape: Shape, output_shape: Shape | None = None, *, seed: int = 0) -> None:
        """Fix the width of the input and what the parameters tell of the output; fits nothing."""
        n_features = n_features_of(tuple(input_shape), node=self.label)
        if self._unmade is not None and self.estimator is None:
            self._adopt(self._unmade.made_for(tuple(input_shape)))
        fitted_for = getattr(self.estimator, "n_features_in_", n_features) if self.is_fitted else n_features
        if fitted_for != n_features:
            raise ShapeError(
                f"The fitted {self._title} takes other inputs.",
                where={"node": self.label},
                expected=f"{fitted_for} features, as it was fitted",
                found=f"{n_features} features, from samples of shape {tuple(input_shape)}",
            )
        self._promised = self._agreed(promised_shape(self.estimator, self.output, n_features), output_shape)
        self._input_shape = tuple(input_shape)
        self._seed = seed

    @property
    def is_built(self) -> bool:
        """Whether `build` has run."""
        return self._input_shape is not None

    @property
    def input_shape(self) -> Shape | None:
        """Shape of one input sample."""
        return self._input_shape

    @property
    def output_shape(self) -> Shape | None:
        """Shape of one output row: as promised or declared, else known once the estimator is fitted."""
        if self._promised is not None or not self.is_built:
            return self._promised
        if self._seen is None and self.is_fitted:
            self._seen = fitted_shape(self.estimator, self.output) or self._probe().shape[1:]
        return self._seen

    @property
    def dtype(self) -> str | None:
        """None: arrays go in as they are."""
        return None

    @property
    def can_learn(self) -> bool:
        """Whether the estimator has `partial_fit`."""
        return self._may_have("partial_fit")

    @property
    def can_fit(self) -> bool:
        """Whether the estimator has `fit`."""
        return self._may_have("fit")

    @property
    def is_fitted(self) -> bool:
        """Whether the estimator can run; True from the start for one that learns nothing."""
        from sklearn.exceptions import NotFittedError
        from sklearn.utils.validation import check_is_fitted

        if not self.can_fit:
            return True
        if self.estimator is None:
            return False
        try:
            check_is_fitted(self.estimator)
        except NotFittedError:
            return False
        return True

    @property
    def needs_classes(self) -> bool:
        """Whether `partial_fit` must be told all classes beforehand."""
        if self.estimator is None or not self.can_learn:
            return False
        return "classes" in inspect.signature(self.estimator.partial_fit).parameters

    @property
    def native(self) -> Any:
        """The estimator itself."""
        return self.estimator

    def fit(self, inputs: np.ndarray, targets: np.ndarray | None = None) -> None:
        """Fit on all rows at once.

        Parameters
        ----------
        inputs : ndarray of shape (rows, *input_shape)
            Reaches the estimator without a copy, unless that was made with ``copy=False``.
        targets : ndarray of shape (rows,) or (rows, ...), optional
        """
        with self._learning("fit"):
            self.estimator.fit(*self._arguments(inputs, targets, self.estimator.fit))

    def partial_fit(
        self, inputs: np.ndarray, targets: np.ndarray | None = None, *, classes: Any = None
    ) -> None:
        """Learn from one batch.

        Parameters
        ----------
        inputs : ndarray of shape (rows, *input_shape)
        targets : ndarray, optional
        classes : array of all classes, or a list of such
            For classifiers.
        """
        if not self.can_learn:
            raise ModelError(
                f"{self._title} cannot learn batch by batch: it has no partial_fit.",
                where={"node": self.label},
                hint="Fit it in a FitPhase.",
            )
        extra = {"classes": classes} if classes is not None and self.needs_classes else {}
        with self._learning("partial_fit"):
            self.estimator.partial_fit(*self._arguments(inputs, targets, self.estimator.partial_fit), **extra)

    def forward(self, inputs: np.ndarray) -> np.ndarray:
        """Return the output for inputs of shape (rows, *input_shape), shape (rows, *output_shape)."""
        matrix = self._matrix(inputs)
        if len(matrix) == 0:
            return self._probe()[:0]
        with self._calling(self.output):
            result = getattr(self.estimator, self.output)(matrix)
        output = as_output(result, len(matrix), node=self.label, method=self.output)
        self._check_promise(output.shape[1:])
        return output

    def variables(self) -> tuple[VariableSpec, ...]:
        """List the fitted arrays that scikit-learn shows (``components_`` and the like), sorted by name."""
        known = {} if self.estimator is None else vars(self.estimator)
        return tuple(
            VariableSpec(name, "buffer", value.shape, value.dtype.name)
            for name, value in sorted(known.items())
            if isinstance(value, np.ndarray) and name.endswith("_")
        )

    def get_config(self) -> Config:
        """Return the estimator's name and those of its arguments that differ from their defaults."""
        if self._written is not None:
            config = {"backend": self.backend, **copy.deepcopy(self._written)}
        else:
            with self._located():
                config = {"backend": self.backend, **self._own_config()}
        if self.chosen_output is not None:
            config["kwargs"]["output"] = self.chosen_output
        if self._declared is not None:
            config["kwargs"]["output_shape"] = list(self._declared)
        return config

    def get_state(self) -> State:
        """Return the whole estimator as bytes of skops, equal for equal estimators."""
        with self._located():
            return state_of(self.estimator)

    def set_state(self, state: State) -> None:
        """Put an estimator back into the object at hand; it must be of the same class and arguments."""
        with self._located():
            loaded = estimator_of(state, like=self.estimator, input_shape=self._input_shape)
        self._keep_initial()
        _replace(self.estimator, vars(loaded))
        self._seen = None

    def reset(self, *, seed: int) -> None:
        """Return to the estimator as it came, unfitted or fitted, and draw from another seed."""
        if self._initial is not None:
            _replace(self.estimator, copied_values(self._initial))
        self._seed = seed
        self._seen = None

    def _own_config(self) -> Config:
        if self._unmade is None:
            return {"model": name_of(type(self.estimator)), "kwargs": arguments_of(self.estimator)}
        # Whoever builds it again finds out for which shape.
        return self._unmade.get_config()

    @property
    def _title(self) -> str:
        return type(self.estimator).__name__

    def _may_have(self, method: str) -> bool:
        if self._unmade is not None and self.estimator is None:
            return self._unmade.may_have(method)
        return hasattr(self.estimator, method)

    def _agreed(self, promised: Shape | None, output_shape: Shape | None) -> Shape | None:
        declared = self._declared if output_shape is None else tuple(output_shape)
        if declared is not None and promised is not None and declared != promised:
            raise ShapeError(
                f"The {self.output} of {self._title} gives another shape than the declared one.",
                where={"node": self.label},
                expected=f"{declared}, as declared",
                found=f"{promised}, from its parameters",
            )
        return declared if promised is None else promised

    def _matrix(self, inputs: np.ndarray) -> np.ndarray:
        matrix = as_matrix(inputs, node=self.label)
        if self._input_shape is None:
            raise ModelError(f"{self._title} is not built yet.", where={"node": self.label})
        if inputs.shape[1:] != self._input_shape:
            raise ShapeError(
                f"{self._title} was built for other inputs.",
                where={"node": self.label},
                expected=f"(rows, {', '.join(map(str, self._input_shape))})",
                found=str(inputs.shape),
            )
        # Other nodes still need what an estimator with copy=False would write into.
        return matrix.copy() if self._overwrites else matrix

    def _arguments(self, inputs: np.ndarray, targets: np.ndarray | None, method: Any) -> list[np.ndarray]:
        matrix = self._matrix(inputs)
        if targets is None:
            self._require_no_targets(method)
            return [matrix]
        if not takes_targets(method):
            return [matrix]
        return [matrix, as_targets(targets, len(matrix), node=self.label)]

    def _require_no_targets(self, method: Any) -> None:
        from sklearn.base import ClassifierMixin, RegressorMixin

        # By class: scikit-learn's own tags cost more than fitting a scaler. Others say it themselves.
        if isinstance(self.estimator, ClassifierMixin | RegressorMixin) or must_have_targets(method):
            raise ModelError(
                f"{self._title} learns from targets, and there are none.",
                where={"node": self.label},
                hint="Give the FeatureSet's reference targets, e.g. reference(features='x', targets='y').",
            )

    @contextmanager
    def _learning(self, method: str) -> Iterator[None]:
        self._keep_initial()
        self._seen = None
        with self._calling(method):
            yield

    @contextmanager
    def _calling(self, method: str) -> Iterator[None]:
        with (
            explained(self.estimator, method, node=self.label),
            seeded(self.estimator, self._open_parameters, self._seed),
        ):
            yield

    @contextmanager
    def _located(self) -> Iterator[None]:
        try:
            yield
        except MMLError as error:
            error.located({"node": self.label})
            raise

    def _probe(self) -> np.ndarray:
        """Return the output of one made-up row, which has the shape and dtype of every other."""
        if not self.is_fitted:
            raise not_fitted(self.estimator, node=self.label)
        return self.forward(np.ones((1, *(self._input_shape or ())), dtype=np.float32))

    def _check_promise(self, shape: Shape) -> None:
        if self._promised is not None and shape != self._promised:
            raise ShapeError(
                f"The {self.output} of {self._title} has another shape than the nodes below were built for.",
                where={"node": self.label},
                expected=f"(rows, {', '.join(map(str, self._promised))})",
                found=f"(rows, {', '.join(map(str, shape))})",
                hint="Correct the declared output_shape, or ask for another output=.",
            )
        self._seen = shape

    def _keep_initial(self) -> None:
        # Only now: a model that never changes needs no second copy of its values.
        if self._initial is None:
            self._initial = copied_values(vars(self.estimator))


def _require_estimator(estimator: Any, label: str | None) -> None:
    if isinstance(estimator, type) or not (
        hasattr(estimator, "get_params") and hasattr(estimator, "__dict__")
    ):
        raise ModelError(
            "This is no estimator.",
            where={"node": label},
            expected="an object of a class derived from sklearn.base.BaseEstimator",
            found=repr(estimator),
        )


def _replace(estimator: Any, values: dict[str, Any]) -> None:
    """Give the user's own object other values, so that references to it stay good."""
    own = vars(estimator)
    own.clear()
    own.update(values)
