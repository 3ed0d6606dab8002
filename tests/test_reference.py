"""The NumPy reference against MXNet on whole networks; operators are in graph/test_operators."""

from __future__ import annotations

import numpy as np
import pytest
from support import mxnet_programs
from support.mxnet_process import MxnetProcess, shared_process
from support.networks import FACTORIES, NetworkBuilder, propensity, random_feeds

from fastprop._reference import reference_outputs
from fastprop.errors import EngineError, InvalidInputError
from fastprop.typing import CSR


@pytest.mark.parametrize("name", FACTORIES)
def test_networks_compute_what_mxnet_computes(name):
    network = FACTORIES[name](np.random.default_rng(7))
    feeds = random_feeds(np.random.default_rng(8), network, 9)
    found = shared_process().call(
        "forward", network.graph.to_json(), dict(network.arguments), dict(network.auxiliary), feeds
    )
    expected = reference_outputs(network, feeds)
    assert len(found) == len(expected)
    for a, b in zip(found, expected):
        assert b.dtype == np.float64
        np.testing.assert_allclose(a, b, atol=2e-6)


def test_sparse_rows_may_be_in_any_order_and_repeat():
    network = propensity(np.random.default_rng(0), n_features=5)
    tidy = CSR([0, 2, 2], np.array([1, 3]), np.array([1.0, 2.0], np.float32), (2, 5))
    other = CSR([0, 3, 3], np.array([3, 1, 3]), np.array([0.5, 1.0, 1.5], np.float32), (2, 5))
    for a, b in zip(
        reference_outputs(network, {"data": tidy}), reference_outputs(network, {"data": other})
    ):
        np.testing.assert_allclose(a, b, rtol=1e-12)


def test_results_are_the_callers_own():
    made = NetworkBuilder(np.random.default_rng(0))
    network = made.network([made.add("_copy", [made.variable("data")], name="c")])
    fed = np.ones((2, 2))
    reference_outputs(network, {"data": fed})[0][:] = 0
    assert fed.sum() == 4


def test_what_it_cannot_compute_is_said():
    made = NetworkBuilder(np.random.default_rng(0))
    data = made.variable("data")
    unknown = made.network([made.add("Unheard", [data], name="u")])
    with pytest.raises(InvalidInputError, match="no value for the input 'data'"):
        reference_outputs(unknown, {})
    with pytest.raises(EngineError, match="'u': no operator 'Unheard'"):
        reference_outputs(unknown, {"data": np.ones((1, 1))})
    random = made.network([made.add("Dropout", [data], name="d", attributes={"mode": "always"})])
    with pytest.raises(EngineError, match="random"):
        reference_outputs(random, {"data": np.ones((1, 1))})


def test_mxnet_in_a_process_with_other_settings():
    network = propensity(np.random.default_rng(0))
    feeds = random_feeds(np.random.default_rng(1), network, 3)
    call = (mxnet_programs.forward, network.graph.to_json(), dict(network.arguments), {}, feeds)
    with MxnetProcess(engine="ThreadedEnginePerDevice") as other:
        for a, b in zip(other.call(*call), shared_process().call(*call)):
            np.testing.assert_allclose(a, b, atol=1e-6)
