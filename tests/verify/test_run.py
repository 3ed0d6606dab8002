"""`verify_model`: right engines pass, wrong ones are found, absent ones are named."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from support.models import retail, rows_for, saved
from support.networks import FACTORIES, NetworkBuilder

import fastprop
from fastprop import _core
from fastprop.verify import VerifySettings, Way, verify_model
from fastprop.verify.categories import category_limit

FEW = VerifySettings(random_rows=70, threads=(1, 2), batch_size=16, k=3)


def by_way(report):
    return {
        (check.way.engine, check.way.graph, check.way.weights, check.way.isa): check
        for check in report.checks
    }


def test_every_way_is_tried_and_passes(tmp_path):
    model = retail(tmp_path, n_heads=9, hidden=(16, 8))
    report = verify_model(model, FEW, rows=rows_for(model, 20))
    assert report.passed
    assert report.judge == "numpy"
    assert report.oracles == {"numpy": "", "mxnet": ""}
    assert (report.n_given, report.n_random, report.n_labels) == (20, 70, 9)
    assert (report.n_given + report.n_random + report.n_edge_cases) % 2 == 1
    checks = by_way(report)
    for weights in ("mapped", "copied", "bfloat16", "int8"):
        for isa in _core.instruction_sets():
            assert checks["native", "split", weights, isa].status == "passed"
            if weights != "int8":
                assert checks["mxnet", "split", weights, isa].status == "passed"
    assert checks["mxnet", "whole", "mapped", None].status == "passed"
    assert checks["mxnet", "saved", "mapped", None].mxnet_max_difference == 0
    for check in report.checks:
        assert check.same_bits
        assert check.top_k_agreement >= (0.95 if check.way.weights == "int8" else 0.99)
        assert 0 < check.mean_difference < check.max_difference <= check.tolerance
        assert check.tolerance == {"bfloat16": 0.01, "int8": 0.05}.get(check.way.weights, 2e-6)
        assert "label 'category" in check.worst
    exact, rounded = (checks["native", "split", how, "scalar"] for how in ("mapped", "bfloat16"))
    assert rounded.max_difference > 10 * exact.max_difference
    json.dumps(report.to_json(), allow_nan=False)


@pytest.mark.parametrize("name", FACTORIES)
def test_every_kind_of_graph(tmp_path, name):
    model = saved(tmp_path, FACTORIES[name](np.random.default_rng(2)))
    # A factorization machine subtracts large numbers, and loses more by rounded weights.
    settings = replace(FEW, tolerances={"float32": 2e-6, "bfloat16": 0.1})
    report = verify_model(model, settings)
    assert report.passed, report.checks
    for check in report.checks:
        if check.status == "unavailable":
            assert check.reason
            assert check.max_difference is None
    assert by_way(report)["mxnet", "saved", "mapped", None].status == "passed"


@pytest.mark.parametrize("weights", ["float32", "bfloat16", "int8"])
def test_a_compiled_file_is_held_against_its_checkpoint(tmp_path, weights):
    model = retail(tmp_path / "a", n_heads=9)
    model.compile(tmp_path / "a.fastprop", weights=weights)
    compiled = fastprop.load_model(tmp_path / "a.fastprop")
    report = verify_model(model, FEW, compiled=compiled)
    assert report.passed
    found = [check for check in report.checks if check.way.graph == "compiled"]
    assert [check.way.isa for check in found] == _core.instruction_sets()
    for check in found:
        assert check.status == "passed"
        assert check.way.precision == weights
        same = by_way(report)["native", "split", check.way.weights, check.way.isa]
        assert check.max_difference == same.max_difference
    # The same shapes with other weights are another model, which shows in the scores.
    other = retail(tmp_path / "b", seed=1, n_heads=9)
    report = verify_model(other, FEW, compiled=compiled)
    assert {check.status for check in report.checks if check.way.graph == "compiled"} == {"failed"}
    with pytest.raises(fastprop.InvalidInputError, match="is not 'model' compiled"):
        verify_model(retail(tmp_path / "c", n_heads=8), FEW, compiled=compiled)
    with pytest.raises(fastprop.InvalidInputError, match="compiled itself"):
        verify_model(compiled, FEW, compiled=compiled)


@pytest.mark.parametrize("weights", ["float32", "bfloat16", "int8"])
@pytest.mark.parametrize("name", FACTORIES)
def test_a_compiled_file_by_itself_is_held_against_its_own_steps(tmp_path, name, weights):
    model = saved(tmp_path, FACTORIES[name](np.random.default_rng(2)))
    steps = model.compiled("scores").plan.steps
    if weights == "int8" and not any(step.op == "dense" for step in steps):
        with pytest.raises(fastprop.EngineError, match="for dense layers"):
            model.compile(tmp_path / "a.fastprop", weights=weights)
        return
    model.compile(tmp_path / "a.fastprop", weights=weights)
    settings = replace(FEW, tolerances={"float32": 2e-6, "bfloat16": 0.1})
    report = verify_model(fastprop.load_model(tmp_path / "a.fastprop"), settings)
    assert report.passed, report.checks
    assert report.judge == "steps"
    assert report.oracles == {"steps": "", "mxnet": "a compiled file holds no graph"}
    assert [check.way.isa for check in report.checks] == _core.instruction_sets()
    for check in report.checks:
        assert (check.way.graph, check.way.precision) == ("compiled", weights)
        assert check.same_bits
        assert check.mxnet_max_difference is None
    json.dumps(report.to_json(), allow_nan=False)


def test_rounded_weights_of_a_file_are_no_difference_from_its_own_steps(tmp_path):
    model = retail(tmp_path, n_heads=9)
    model.compile(tmp_path / "a.fastprop", weights="bfloat16")
    file = fastprop.load_model(tmp_path / "a.fastprop")
    way = "native", "compiled", "bfloat16", "scalar"
    of_checkpoint = by_way(verify_model(model, FEW, compiled=file))[way].max_difference
    by_itself = by_way(verify_model(file, FEW))[way].max_difference
    assert by_itself < of_checkpoint


def test_made_up_categories_of_a_compiled_file_are_those_of_its_checkpoint(tmp_path):
    limits = {}
    for name, factory in FACTORIES.items():
        model = saved(tmp_path / name, factory(np.random.default_rng(2)))
        model.compile(tmp_path / f"{name}.fastprop")
        file = fastprop.load_model(tmp_path / f"{name}.fastprop")
        for spec in model.inputs:
            limits[name, spec.name] = category_limit(model, spec.name)
            assert category_limit(file, spec.name) == limits[name, spec.name]
    assert any(limit is not None for limit in limits.values())


def test_a_damaged_compiled_file_is_an_error(tmp_path):
    model = retail(tmp_path)
    model.compile(tmp_path / "a.fastprop")
    content = bytearray((tmp_path / "a.fastprop").read_bytes())
    content[-3] ^= 1
    (tmp_path / "a.fastprop").write_bytes(content)
    file = fastprop.load_model(tmp_path / "a.fastprop")
    for arguments in ({"compiled": file}, {}):
        with pytest.raises(fastprop.ModelFormatError, match="the file is damaged"):
            verify_model(model if arguments else file, FEW, **arguments)


def test_wrong_scores_of_a_compiled_file_are_found(tmp_path, spoilt):
    retail(tmp_path, n_heads=9).compile(tmp_path / "a.fastprop")
    spoilt(lambda what, array, threads: changed(array, 1e-3) if what == "scores" else array)
    report = verify_model(fastprop.load_model(tmp_path / "a.fastprop"), FEW)
    assert {check.status for check in report.checks} == {"failed"}


def test_blocks_give_what_one_block_gives(tmp_path):
    model = retail(tmp_path, n_heads=9)
    rows = rows_for(model, 30)
    whole = verify_model(model, FEW, rows=rows)
    small = VerifySettings(random_rows=70, threads=(1, 2), batch_size=16, k=3, block_scores=9 * 20)
    parts = verify_model(model, small, rows=rows)
    native = "native", "split", "mapped", _core.instruction_sets()[-1]
    one, other = by_way(whole)[native], by_way(parts)[native]
    assert one.max_difference == other.max_difference
    assert one.worst == other.worst
    assert one.mean_difference == pytest.approx(other.mean_difference)


def test_tolerances_decide(tmp_path):
    model = retail(tmp_path)
    strict = VerifySettings(
        random_rows=20, threads=(1,), tolerances={"float32": 2e-6, "bfloat16": 1e-9}
    )
    report = verify_model(model, strict)
    assert not report.passed
    for check in report.checks:
        if check.way.weights == "bfloat16":
            assert check.status == "failed"
            assert "a score differs by" in check.reason
        else:
            assert check.status == "passed"


class Wrong:
    """A predictor whose answers are spoilt."""

    def __init__(self, predictor, spoil):
        self.predictor = predictor
        self.spoil = spoil

    def predict(self, rows, *, inputs):
        return self.spoil("scores", self.predictor.predict(rows, inputs=inputs))

    def predict_top_k(self, rows, k, *, inputs):
        top = self.predictor.predict_top_k(rows, k, inputs=inputs)
        return SimpleNamespace(
            indices=self.spoil("indices", top.indices), scores=self.spoil("best", top.scores)
        )


@pytest.fixture
def spoilt(monkeypatch):
    def install(spoil):
        make = Way.predictor

        @contextmanager
        def predictor(way, model, *, threads, batch_size):
            with make(way, model, threads=threads, batch_size=batch_size) as real:
                if way.engine != "native":
                    yield real
                    return
                yield Wrong(real, lambda what, array: spoil(what, array, threads))

        monkeypatch.setattr(Way, "predictor", predictor)

    return install


def changed(array, amount):
    array = array.copy()
    array[7, 2] += amount
    return array


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda what, a, t: changed(a, 1e-3) if what == "scores" else a, "differs by 0.001"),
        (lambda what, a, t: changed(a, np.nan) if what == "scores" else a, "differs by inf"),
        (
            lambda what, a, t: changed(a, 1e-7) if what == "scores" and t == 2 else a,
            "depend on the number of threads",
        ),
        (lambda what, a, t: changed(a, 1e-7) if what == "best" else a, "have other scores"),
        (lambda what, a, t: a[:, :1].repeat(3, axis=1) if what != "scores" else a, "of the best 3"),
    ],
)
def test_what_is_wrong_is_found(tmp_path, spoilt, spoil, reason):
    model = retail(tmp_path, n_heads=9)
    spoilt(spoil)
    report = verify_model(model, FEW)
    assert not report.passed
    assert {check.status for check in report.checks if check.way.engine == "mxnet"} == {"passed"}
    for check in report.checks:
        # A thousandth is within the tolerance of bfloat16.
        if check.way.engine == "native" and check.way.precision == "float32":
            assert check.status == "failed"
            assert reason in check.reason
    json.dumps(report.to_json(), allow_nan=False)


def test_an_engine_that_breaks_later_has_failed(tmp_path, spoilt):
    def spoil(what, array, threads):
        if threads == 2:
            raise fastprop.EngineError("it broke")
        return array

    spoilt(spoil)
    report = verify_model(retail(tmp_path), FEW)
    native = [check for check in report.checks if check.way.engine == "native"]
    assert {check.status for check in native} == {"failed"}
    assert {check.reason for check in native} == {"it broke"}
    assert not report.passed


def test_what_numpy_does_not_know_is_held_against_mxnet(tmp_path):
    made = NetworkBuilder(np.random.default_rng(0))
    data = made.layer("fc0", made.variable("data"), 6, 4)
    network = made.network([made.add("_contrib_quadratic", [data], name="q0")])
    model = saved(tmp_path, network, allow_operators="all")
    report = verify_model(model, FEW)
    assert report.judge == "mxnet"
    assert "no operator '_contrib_quadratic'" in report.oracles["numpy"]
    assert report.passed


def test_rows_that_do_not_fit_are_refused(tmp_path):
    model = retail(tmp_path / "a")
    good = rows_for(model, 3)
    with pytest.raises(fastprop.ShapeError, match="have 7 columns"):
        verify_model(model, FEW, rows=fastprop.CSR([0], [], [], (0, 7)))
    bad = fastprop.CSR(np.array([0, 1]), np.array([200]), np.ones(1), (1, 200))
    with pytest.raises(fastprop.InvalidInputError, match=r"rows\[0\]\.indices\[0\].? is 200"):
        verify_model(model, FEW, rows=bad)
    dense = saved(tmp_path / "b", FACTORIES["softmax-dense"](np.random.default_rng(2)))
    with pytest.raises(fastprop.InvalidInputError, match="takes dense rows"):
        verify_model(dense, FEW, rows=good)


@pytest.mark.parametrize(
    "bad",
    [
        {"k": 0},
        {"random_rows": -1},
        {"threads": ()},
        {"threads": (0,)},
        {"min_agreement": 1.1},
        {"tolerances": {"float32": -1.0, "bfloat16": 0.1}},
        {"tolerances": None},
        {"tolerances": {"float32": "small"}},
        {"tolerances": {"float16": 0.1}},
        {"threads": 2},
        {"threads": (1, None)},
        {"seed": -1},
        {"k": None},
        {"random_rows": 10**30},
        {"min_agreement": float("nan")},
    ],
)
def test_settings_that_make_no_sense(bad):
    with pytest.raises(fastprop.InvalidInputError):
        VerifySettings(**bad)


WITHOUT_MXNET = """
import sys
import fastprop.libmxnet.library
fastprop.libmxnet.library.find_mxnet_library = lambda: None
from fastprop.cli import main
main(["verify", sys.argv[1], "--rows", "20", "--json"])
"""


@pytest.mark.parametrize("name", ["propensity", "factorization-machine"])
def test_without_libmxnet(tmp_path, name):
    saved(tmp_path, FACTORIES[name](np.random.default_rng(2)))
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_MXNET, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    facts = json.loads(done.stdout)
    assert "libmxnet was not found" in facts["oracles"]["mxnet"]
    statuses = {(check["engine"], check["status"]) for check in facts["checks"]}
    assert ("mxnet", "unavailable") in statuses
    assert ("mxnet", "passed") not in statuses
    runs = ("native", "passed") in statuses
    assert facts["passed"] is runs
    assert done.returncode == (0 if runs else 1), done.stderr
    if name == "propensity":
        assert runs


@pytest.mark.parametrize("given", [5, "model", {}, np.array([1, 2])], ids=repr)
def test_what_cannot_be_verified(tmp_path, given):
    with pytest.raises(fastprop.DTypeError, match=r"model is .*, and fastprop\.model\.Model"):
        verify_model(given)
    model = retail(tmp_path)
    for name in ("settings", "rows", "compiled", "progress"):
        with pytest.raises(fastprop.InvalidInputError, match=f"^{name} (is|holds|have) "):
            verify_model(model, **{name: given})
