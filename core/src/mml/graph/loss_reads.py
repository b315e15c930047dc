"""Which data a loss's input means: the role, the columns, and through which merge they reach the node."""

from __future__ import annotations

from collections.abc import Mapping

from mml.data import FeatureSetReference
from mml.errors import ColumnError, LossError
from mml.graph.elsewhere import matching_rows
from mml.graph.losses.applied_loss import AppliedLoss
from mml.graph.losses.routing import LossInput
from mml.graph.plan import BY_KEY, FEATURES, TAGS, TARGETS, DataInput, Elsewhere, Joined, Lane, Match
from mml.graph.routes import Routes, same_data, whole_domain


class LossReads:
    """Looks up what the losses of one request read.

    Parameters
    ----------
    routes : Routes
    elsewhere : mapping of FeatureSetReference to Elsewhere
    """

    def __init__(self, routes: Routes, elsewhere: Mapping[FeatureSetReference, Elsewhere]) -> None:
        self.routes = routes
        self.elsewhere = elsewhere
        self._matches: dict[tuple[str, Elsewhere], Match] = {}

    def role_and_key(self, loss: AppliedLoss, value: LossInput) -> tuple[str, str | None]:
        """Tell role from column in a loss's input."""
        roles = self.routes.roles[loss.on]
        if value.reference is not None:
            return self._only_role(loss, roles), None
        role, key = value.role_and_key(roles, loss=loss.label)
        if value.name in roles and value.key is None and value.domain != "outputs":
            holding = [one.name for one in self._lanes_with(loss.on, value.domain, str(value.name))]
            if holding:
                raise LossError(
                    f"{value.text!r} names a role of the stream and a column.",
                    where={"loss": loss.label},
                    expected=f"'{value.domain}.{value.name}.{value.name}' for the column",
                )
        return role, key

    def read(self, loss: AppliedLoss, value: LossInput) -> DataInput | Joined:
        """Return the data that a loss's input in ``targets``, ``features`` or ``tags`` means.

        Raises
        ------
        LossError
            If there is none, or several upstreams have it.
        ColumnError
            If the column does not exist.
        """
        role, key = self.role_and_key(loss, value)
        if value.reference is not None:
            return self._elsewhere(loss.on, role, self.elsewhere[value.reference])
        if key is not None:
            try:
                return self._column(loss.on, role, value.domain, key)
            except ColumnError as error:
                raise error.located({"input": value.text}) from error.__cause__
        found = (
            self._all_features(loss.on, role)
            if value.domain == FEATURES
            else self.routes.carried(loss.on, role, value.domain)
        )
        if found is None:
            raise LossError(
                f"The data of this node has no {value.domain}.",
                where={"input": value.text},
                hint=f"Name them in the reference: featureset.reference(..., {value.domain}=...).",
            )
        return found

    def weights(self, loss: AppliedLoss) -> DataInput | Joined | None:
        """Return the column of a loss's row weights, None where it has none."""
        if loss.sample_weight is None:
            return None
        if loss.sample_weight.domain not in (TARGETS, FEATURES, TAGS):
            raise LossError(
                "Row weights come from a column.",
                expected="such as 'tags.weight'",
                found=repr(loss.sample_weight.text),
            )
        found = self.read(loss, loss.sample_weight)
        columns = found.columns if isinstance(found, DataInput) else ()
        specs = (
            [self.routes.lanes[found.lane].source.spec(one) for one in columns]
            if isinstance(found, DataInput)
            else []
        )
        if len(specs) != 1 or specs[0].shape not in ((), (1,)) or not specs[0].is_numeric:
            raise LossError(
                "Row weights are one number a row.",
                where={"input": loss.sample_weight.text},
                found=", ".join(columns) or "joined columns",
                hint="Name one numeric column.",
            )
        return found

    def _all_features(self, label: str, role: str) -> DataInput | None:
        lanes = self._feeding(label)
        if len(lanes) > 1:
            raise LossError(
                "The node reads features from several places.",
                where={"input": FEATURES},
                found=", ".join(repr(one.name) for one in lanes),
                hint="Name one column: 'features.<column>'.",
            )
        if lanes[0].combine == BY_KEY:
            raise LossError(
                "The node takes its features by key.",
                where={"input": FEATURES},
                found=", ".join(lanes[0].columns[FEATURES]),
                hint="Name one column: 'features.<column>'.",
            )
        return whole_domain(lanes[0], role, FEATURES, self.routes.dtype(label))

    def _column(self, label: str, role: str, domain: str, key: str) -> DataInput:
        carrying = self.routes.lanes[self.routes.identity(label, domain)]
        holding = self._lanes_with(label, domain, key)
        if domain != FEATURES and carrying in holding:
            # Targets and tags are passed on by one upstream; the others' are left behind at the merge.
            holding = [carrying]
        if any(not same_data(holding[0].source, one.source) for one in holding[1:]):
            raise LossError(
                f"Several upstreams have a column '{domain}.{key}'.",
                found=", ".join(repr(one.name) for one in holding),
                hint="Apply the loss above the merge, or rename one of the columns.",
            )
        lane = holding[0] if holding else carrying
        return DataInput(lane.name, role, _columns_of(lane, domain, key), self.routes.dtype(label))

    def _elsewhere(self, label: str, role: str, elsewhere: Elsewhere) -> DataInput:
        lane = self.routes.lanes[self.routes.identity(label)]
        if (lane.name, elsewhere) not in self._matches:
            self._matches[lane.name, elsewhere] = Match(elsewhere, matching_rows(lane, elsewhere))
        return DataInput(
            lane.name,
            role,
            elsewhere.columns,
            self.routes.dtype(label),
            elsewhere.combine,
            self._matches[lane.name, elsewhere],
        )

    @staticmethod
    def _only_role(loss: AppliedLoss, roles: tuple[str, ...]) -> str:
        if len(roles) > 1:
            raise LossError(
                "Columns outside the batch do not tell which role's samples they belong to.",
                where={"loss": loss.label},
                found=f"a stream with the roles {roles}",
                hint="Give the FeatureSet that is sampled this column: 'tags.<role>.<column>'.",
            )
        return roles[0]

    def _feeding(self, label: str) -> list[Lane]:
        names = {name for name, _ in self.routes.pairs(label, self.routes.roles[label][0])}
        return [lane for name, lane in self.routes.lanes.items() if name in names]

    def _lanes_with(self, label: str, domain: str, key: str) -> list[Lane]:
        return [lane for lane in self._feeding(label) if key in lane.source.schema.keys(domain)]


def _columns_of(lane: Lane, domain: str, key: str) -> tuple[str, ...]:
    """Return the column of a key: the one that the reference selects, else the FeatureSet's."""
    schema = lane.source.schema
    selected = schema.only(lane.columns.get(domain, ()))
    try:
        return (selected if key in selected.keys(domain) else schema).select(key, domain=domain)
    except ColumnError as error:
        raise error.located({"lane": lane.name}) from error.__cause__
