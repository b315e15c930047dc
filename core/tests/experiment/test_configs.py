"""Structure round trips: what a configuration builds equals what wrote it; mistakes name themselves."""

from __future__ import annotations

import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

import mml
from mml.errors import ConfigError, MMLError, PhaseError, UnknownComponentError
from mml.experiment.callbacks import Callback, OutputMetric
from mml.experiment.callbacks.evaluation_metric import as_evaluation_metric, evaluation_metric_from_config
from mml.experiment.metrics import Accuracy
from mml.experiment.phases import phase_from_config
from mml.experiment.phases.input_binding import sampler_from_config

from .toy import experiment, in_own_context, mse, training, validation

LABELS = st.text(st.characters(codec="utf-8", exclude_characters="/"), min_size=1, max_size=8)
NAMES = st.none() | st.sampled_from(["train", "val", "all rows"])
ROW_ORDERS = {
    "batch_size": st.integers(1, 100),
    "shuffle": st.booleans(),
    "seed": st.none() | st.integers(0, 2**40),
    "drop_last": st.booleans(),
    "stratify_by": st.none() | st.just("y"),
}
CONDITIONS = st.lists(
    st.builds(
        mml.SimilarityCondition,
        st.sampled_from(["cell", "day"]),
        mode=st.sampled_from(["similar", "dissimilar"]),
        tolerance=st.none() | st.floats(0, 9),
        fallback=st.none() | st.just("any"),
    ),
    min_size=1,
    max_size=2,
)
UNMATCHED = st.sampled_from(["drop", "mask", "error"])
OF_ONE_SET = st.one_of(
    st.builds(mml.SimpleSampler, **ROW_ORDERS),
    st.builds(mml.PairedSampler, conditions=CONDITIONS, unmatched=UNMATCHED, **ROW_ORDERS),
    st.builds(mml.TripletSampler, by=st.sampled_from(["cell", "day"]), unmatched=UNMATCHED, **ROW_ORDERS),
    st.builds(
        mml.TripletSampler,
        conditions=st.fixed_dictionaries({"positive": CONDITIONS, "negative": CONDITIONS}),
        **ROW_ORDERS,
    ),
    st.builds(
        mml.NSampler,
        conditions=st.dictionaries(st.sampled_from("abc"), CONDITIONS, min_size=1),
        **ROW_ORDERS,
    ),
)
SAMPLERS = OF_ONE_SET | st.builds(
    mml.AlignedSampler,
    OF_ONE_SET,
    by=st.just("sample_uuid") | st.lists(st.sampled_from(["key", "day"]), min_size=1, unique=True),
    primary=st.none() | st.just("eis"),
    unmatched=UNMATCHED,
)
REFERENCES = st.none() | st.builds(
    mml.FeatureSetReference, st.sampled_from(["p", "q"]), features=st.just("x")
)
BINDINGS = st.builds(
    mml.InputBinding.for_training,
    node=LABELS,
    sampler=SAMPLERS,
    split=NAMES,
    upstream=REFERENCES,
    stream=NAMES,
)
LOSSES = st.lists(
    st.builds(
        mml.AppliedLoss,
        st.sampled_from(["mse", "mae"]),
        on=st.sampled_from(["trunk", "head"]),
        weight=st.floats(0, 5, width=32),
        label=st.none() | st.just("named"),
    ),
    max_size=2,
)
METRICS = st.one_of(
    st.builds(
        mml.EvalLossMetric,
        loss=st.none() | st.just("head/mse"),
        name=LABELS,
        reducer=st.sampled_from(["mean", "sum"]),
    ),
    st.builds(
        OutputMetric, st.sampled_from(["mae", "accuracy"]), node=st.none() | LABELS, name=st.none() | LABELS
    ),
    st.builds(OutputMetric, st.builds(Accuracy, from_logits=st.none() | st.booleans())),
)
COMMON = {
    "label": LABELS,
    "input_sources": st.lists(BINDINGS, min_size=1, max_size=3),
    "losses": LOSSES,
    "active_nodes": st.none() | st.lists(LABELS, max_size=2),
    "result_recording": st.sampled_from(["none", "last", "all"]),
    "on_nonfinite": st.sampled_from(["error", "warn", "ignore"]),
    "device": st.none() | st.just("cpu"),
}
EVALUATIONS = st.builds(
    mml.EvalPhase,
    **COMMON,
    batch_size=st.none() | st.integers(1, 9),
    metrics=st.lists(METRICS, max_size=2),
)
CALLBACKS = st.one_of(
    st.builds(
        mml.EarlyStopping,
        monitor=LABELS,
        patience=st.integers(1, 9),
        min_delta=st.floats(0, 1),
        mode=st.sampled_from(["min", "max"]),
        restore_best=st.booleans(),
    ),
    st.builds(
        mml.Evaluation,
        EVALUATIONS,
        every_n_epochs=st.integers(1, 4),
        run_on_start=st.booleans(),
        metrics=st.lists(METRICS, max_size=2),
    ),
)
TRAININGS = st.builds(
    mml.TrainPhase,
    **COMMON,
    callbacks=st.lists(CALLBACKS, max_size=2),
    n_epochs=st.integers(1, 9),
    batch_schedule=st.sampled_from(list(mml.BatchSchedulingPolicy)),
)
FITS = st.builds(mml.FitPhase, **COMMON, freeze_after_fit=st.booleans())


def through_json(config):
    return json.loads(json.dumps(config))


def assert_comes_back(made, build):
    config = made.get_config()
    rebuilt = build(through_json(config))
    assert type(rebuilt) is type(made)
    assert rebuilt == made
    assert rebuilt.get_config() == config


@given(st.one_of(TRAININGS, EVALUATIONS, FITS))
def test_phases(phase):
    assert_comes_back(phase, phase_from_config)
    assert_comes_back(phase, type(phase).from_config)


@given(BINDINGS)
def test_bindings(binding):
    assert_comes_back(binding, mml.InputBinding.from_config)


@given(SAMPLERS, SAMPLERS)
def test_samplers(sampler, other):
    assert_comes_back(sampler, sampler_from_config)
    assert_comes_back(sampler, type(sampler).from_config)
    rebuilt = sampler_from_config(through_json(sampler.get_config()))
    assert rebuilt.key() == sampler.key()
    assert hash(rebuilt) == hash(sampler)
    assert (sampler.key() == other.key()) == (sampler == other)


@given(CONDITIONS)
def test_conditions(conditions):
    for condition in conditions:
        assert_comes_back(condition, mml.SimilarityCondition.from_config)


@given(CALLBACKS)
def test_callbacks(callback):
    assert_comes_back(callback, Callback.from_config)


@given(METRICS)
def test_evaluation_metrics(metric):
    assert_comes_back(metric, evaluation_metric_from_config)


@given(phase=st.one_of(TRAININGS, EVALUATIONS, FITS), data=st.data())
def test_phases_that_differ_in_one_setting_differ(phase, data):
    config = phase.get_config()
    changes = {"label": "another label", "device": "other", "n_epochs": 77, "batch_size": 77}
    key = data.draw(st.sampled_from([key for key in changes if key in config]))
    assert phase_from_config({**config, key: changes[key]}) != phase


def test_what_is_left_out_is_as_the_constructor_has_it():
    binding = {"node": "*", "split": "val"}
    phase = phase_from_config({"phase": "eval", "label": "look", "input_sources": [binding]})
    assert phase == mml.EvalPhase.from_split("look", split="val")


def test_an_experiment():
    callbacks = [mml.Evaluation(validation(metrics=["mae"])), mml.EarlyStopping(patience=2)]
    made = in_own_context(experiment, phases=[training(callbacks=callbacks), validation("test", "test")])
    assert_comes_back(made, lambda config: mml.Experiment.from_config(config, featuresets=made.featuresets))


@pytest.mark.parametrize(
    ("change", "match"), [({"sead": 3}, "'sead'"), ({"callbacks": 3}, "no list"), ({"seed": "3"}, "seed")]
)
def test_a_wrong_configuration_of_an_experiment_is_refused(change, match):
    config = in_own_context(experiment).get_config()
    with pytest.raises(MMLError, match=match):
        mml.Experiment.from_config({**config, **change})
    del config["execution_plan"]
    with pytest.raises(ConfigError, match="incomplete"):
        mml.Experiment.from_config(config)


class UserCallback(mml.Callback):
    """Without settings, so it can be written down by its import path alone."""

    def on_epoch_end(self, **_):
        return mml.MetricResult("mine", 1.0)


class SettingsUnknown(UserCallback):
    def __init__(self, depth):
        self.depth = depth


class TestUserCallbacks:
    def test_that_are_registered_come_back(self):
        mml.plugins.registry("callbacks").register("mine")(UserCallback)
        try:
            assert_comes_back(UserCallback(), Callback.from_config)
        finally:
            mml.plugins.registry("callbacks").remove("user/mine")

    def test_whose_settings_are_unknown_say_what_to_override(self):
        with pytest.raises(ConfigError, match="SettingsUnknown") as caught:
            SettingsUnknown(3).get_config()
        assert "get_settings" in caught.value.hint
        assert SettingsUnknown(3) != SettingsUnknown(3)


WRONG_PHASES = [
    ({"n_epoch": 3}, "'n_epoch'"),
    ({"label": None}, "label"),
    ({"n_epochs": 0}, "n_epochs"),
    ({"n_epochs": True}, "n_epochs"),
    ({"n_epochs": "3"}, "n_epochs"),
    ({"batch_schedule": "zip"}, "batch_schedule"),
    ({"result_recording": "some"}, "result_recording"),
    ({"on_nonfinite": "explode"}, "on_nonfinite"),
    ({"input_sources": []}, "needs data"),
    ({"input_sources": {"node": "*"}}, "no list"),
    ({"input_sources": ["*"]}, "mapping"),
    ({"input_sources": [{"split": "train"}]}, "incomplete"),
    ({"input_sources": [{"node": "*", "splits": "train"}]}, "'splits'"),
    ({"input_sources": [{"node": "*", "sampler": {"batch_size": 3}}]}, "names none"),
    ({"input_sources": [{"node": "*", "sampler": 3}]}, "names none"),
    ({"input_sources": [{"node": "*", "sampler": {"sampler": "mml/simple", "batch": 3}}]}, "batch"),
    ({"losses": 3}, "no list"),
    ({"callbacks": [{}]}, "names none"),
    ({"callbacks": [{"callback": "mml/early_stopping", "patient": 3}]}, "patient"),
    ({"callbacks": [{"callback": "mml/evaluation"}]}, "incomplete"),
    ({"callbacks": [{"callback": "mml/evaluation", "phase": {}, "every": 1}]}, "'every'"),
    ({"callbacks": [{"callback": "mml/evaluation", "phase": {}}]}, "kind of phase"),
    ({"active_nodes": 3}, "active_nodes"),
    ({"active_nodes": [3]}, "active_nodes"),
]


@pytest.mark.parametrize(("change", "match"), WRONG_PHASES)
def test_a_wrong_configuration_of_a_phase_is_refused_by_name(change, match):
    config = {**training().get_config(), **change}
    before = copy.deepcopy(config)
    with pytest.raises((ConfigError, PhaseError), match=match):
        phase_from_config(config)
    assert config == before


def test_a_key_that_is_missing_is_named():
    config = training().get_config()
    del config["input_sources"]
    with pytest.raises(ConfigError, match="incomplete") as caught:
        phase_from_config(config)
    assert "'input_sources'" in caught.value.found


def test_a_phase_of_another_kind_is_refused():
    with pytest.raises(ConfigError):
        mml.EvalPhase.from_config(training().get_config())


@pytest.mark.parametrize("wrong", [3, None, "eval", []])
def test_what_is_no_mapping_is_refused(wrong):
    for build in (
        phase_from_config,
        mml.EvalPhase.from_config,
        mml.InputBinding.from_config,
        sampler_from_config,
        mml.SimpleSampler.from_config,
        mml.TripletSampler.from_config,
        mml.AlignedSampler.from_config,
        mml.SimilarityCondition.from_config,
        Callback.from_config,
        evaluation_metric_from_config,
    ):
        with pytest.raises(ConfigError):
            build(wrong)


@pytest.mark.parametrize(
    ("config", "match"),
    [
        ({"metric": 3}, "names none"),
        ({"metric": "mml/mae", "nodes": "head"}, "'nodes'"),
        ({"metric": "mml/mae", "settings": {"depth": 3}}, "depth"),
        ({"metric": "mml/eval_loss", "depth": 3}, "depth"),
        ({"metric": "mml/eval_loss", "reducer": "max"}, "reducer"),
    ],
)
def test_a_wrong_configuration_of_a_metric_is_refused(config, match):
    with pytest.raises(MMLError, match=match):
        evaluation_metric_from_config(config)


def test_an_unknown_callback_or_metric_names_the_nearest():
    with pytest.raises(UnknownComponentError, match="early_stoping") as caught:
        Callback.from_config({"callback": "mml/early_stoping"})
    assert "early_stopping" in str(caught.value)
    with pytest.raises(UnknownComponentError, match="acuracy"):
        as_evaluation_metric("acuracy")


def test_a_callback_of_the_other_level_is_refused():
    class Outer(mml.ExperimentCallback):
        pass

    mml.plugins.registry("callbacks").register("outer")(Outer)
    try:
        with pytest.raises(ConfigError, match="none for this place"):
            Callback.from_config({"callback": "user/outer"})
        with pytest.raises(PhaseError, match="`callbacks` takes Callback"):
            training(callbacks=[Outer()])
    finally:
        mml.plugins.registry("callbacks").remove("user/outer")


@pytest.mark.parametrize("key", ["losses", "callbacks", "input_sources"])
def test_what_is_no_sequence_is_refused(key):
    settings = {"input_sources": [mml.InputBinding.for_evaluation(node="*")], key: 3}
    with pytest.raises(PhaseError, match=f"`{key}`"):
        mml.EvalPhase("look", **settings)


def test_one_object_stands_for_a_list_of_one():
    one = mml.EvalPhase(
        "look", input_sources=mml.InputBinding.for_evaluation(node="*"), losses=mse(), metrics="mae"
    )
    several = mml.EvalPhase(
        "look", input_sources=[mml.InputBinding.for_evaluation(node="*")], losses=[mse()], metrics=["mae"]
    )
    assert one == several
    assert mml.Evaluation(validation(), metrics="mae") == mml.Evaluation(validation(), metrics=["mae"])


def test_a_graph_that_is_no_mapping_is_refused():
    made = in_own_context(experiment)
    with pytest.raises(ConfigError, match="graph"):
        in_own_context(mml.Experiment.from_config, made.get_config() | {"graph": 3})
