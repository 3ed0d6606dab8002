from __future__ import annotations

import numpy as np
import pytest
from support.mxnet_process import MxnetError, shared_process
from support.training_programs import first_layer_update, scores, train
from support.training_rows import random_rows

from fastprop.checkpoint.directory import read_checkpoint
from fastprop.features import SparseRows
from fastprop.training import FitSettings, NetworkSettings

NETWORK = NetworkSettings(n_features=30, n_labels=4, hidden=(16,), heads="fused")
LABELS = ["a", "b", "ü c", "d"]


def options(directory, **further):
    return {"directory": str(directory), "name": "net", "labels": LABELS, **further}


def call(*arguments):
    return shared_process().call(train, *arguments)


@pytest.mark.parametrize("heads", ["separate", "fused"])
def test_it_learns_and_leaves_a_checkpoint_an_epoch(tmp_path, heads):
    network = NetworkSettings(
        n_features=30, n_labels=4, hidden=(16, 8), heads=heads, activation="tanh", dropout=0.1
    )
    settings = FitSettings(epochs=3, batch_size=16, learning_rate=0.05)
    names = [f"feature {i}" for i in range(30)]
    result, steps = call(
        random_rows(1, 500), random_rows(2, 200), network, settings,
        options(tmp_path, feature_names=names),
    )  # fmt: skip
    assert [epoch.epoch for epoch in result.epochs] == [0, 1, 2, 3]
    losses = [epoch.validation.log_loss for epoch in result.epochs]
    assert losses[0] == pytest.approx(np.log(2), abs=0.1)
    assert losses[result.best_epoch] == min(losses) < 0.35
    assert result.epochs[-1].validation.macro_auc > 0.85
    assert result.epochs[-1].train_log_loss < 0.4
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "net-0001.params", "net-0002.params", "net-0003.params",
        "net-features.txt", "net-labels.txt", "net-symbol.json",
    ]  # fmt: skip
    checkpoint = read_checkpoint(tmp_path, epoch=2)
    assert checkpoint.labels == LABELS
    assert checkpoint.feature_names == names
    assert steps[-1].rows == steps[-1].total_rows == 1500
    assert steps[-1].seconds_left == 0
    assert steps[0].epoch == 1
    assert steps[0].seconds_left > 0
    assert all(one.rows < two.rows for one, two in zip(steps, steps[1:]))


def test_the_seed_decides_every_bit(tmp_path):
    network = NetworkSettings(n_features=30, n_labels=4, hidden=(16,), heads="fused", dropout=0.3)
    for name, seed in (("one", 3), ("again", 3), ("other", 4)):
        settings = FitSettings(epochs=1, batch_size=64, seed=seed)
        call(random_rows(1, 300), None, network, settings, options(tmp_path / name))
    one, again, other = (
        (tmp_path / name / "net-0001.params").read_bytes() for name in ("one", "again", "other")
    )
    assert one == again
    assert one != other


def test_fused_training_saved_as_separate_heads_scores_the_same(tmp_path):
    rows = random_rows(1, 200)
    settings = FitSettings(epochs=1, batch_size=32, learning_rate=0.02)
    for heads in ("fused", "separate"):
        call(rows, None, NETWORK, settings, options(tmp_path / heads, save_heads=heads))
    found = [
        shared_process().call(scores, str(tmp_path / heads / "net"), 1, rows, heads)
        for heads in ("fused", "separate")
    ]
    np.testing.assert_allclose(found[0], found[1], atol=1e-6)
    graph = read_checkpoint(tmp_path / "separate").network.graph
    assert sum(node.op == "SoftmaxOutput" for node in graph.nodes) == 4
    separate = NetworkSettings(n_features=30, n_labels=4, hidden=(16,))
    with pytest.raises(MxnetError, match="cannot be saved as fused"):
        call(rows, None, separate, settings, options(tmp_path, save_heads="fused"))


def test_it_stops_when_validation_gets_no_better(tmp_path):
    generator = np.random.default_rng(0)
    rows = random_rows(1, 60)
    noise = rows.take(generator.permutation(60))
    train_rows = SparseRows(rows.customer_ids, rows.features, noise.labels)  # nothing to learn
    settings = FitSettings(
        epochs=30, batch_size=16, learning_rate=0.1, patience=2, checkpoints="best"
    )
    result, _ = call(train_rows, random_rows(2, 200), NETWORK, settings, options(tmp_path))
    assert len(result.epochs) - 1 == result.best_epoch + 2 < 30
    losses = [epoch.validation.log_loss for epoch in result.epochs[1:]]
    assert result.best_epoch == 1 + int(np.argmin(losses))
    parameters = sorted(path.name for path in tmp_path.glob("*.params"))
    assert parameters == [f"net-{result.best_epoch:04d}.params"]


def test_precision_can_decide(tmp_path):
    settings = FitSettings(epochs=3, batch_size=64, monitor="precision", precision_k=1)
    result, _ = call(random_rows(1, 200), random_rows(2, 100), NETWORK, settings, options(tmp_path))
    found = [epoch.validation.precision for epoch in result.epochs[1:]]
    assert result.best_epoch == 1 + int(np.argmax(found))


def test_more_than_two_classes(tmp_path):
    network = NetworkSettings(n_features=30, n_labels=4, hidden=(16,), heads="fused", classes=3)
    settings = FitSettings(epochs=4, batch_size=16, learning_rate=0.05)
    result, _ = call(
        random_rows(1, 400, classes=3), random_rows(2, 200, classes=3), network, settings,
        options(tmp_path),
    )  # fmt: skip
    assert result.epochs[-1].validation.macro_auc > 0.85


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_updates_of_the_first_layer_are_lazy(optimizer):
    rows = random_rows(1, 20)
    keep = rows.features.indices < 10
    few = SparseRows(
        rows.customer_ids,
        type(rows.features)(
            np.append(0, np.cumsum(np.add.reduceat(np.append(keep, 0), rows.features.indptr[:-1]))),
            rows.features.indices[keep],
            rows.features.data[keep],
            rows.features.shape,
        ),
        rows.labels,
    )
    before, after, storage = shared_process().call(first_layer_update, few, NETWORK, optimizer)
    assert storage == "row_sparse"
    changed = (before != after).any(axis=1)
    assert changed[:10].all()
    # Weight decay would have reached the others, had they been updated.
    assert not changed[10:].any()


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_weight_decay_reaches_the_first_layer(tmp_path, optimizer):
    found = []
    for decay in (0.0, 0.5):
        settings = FitSettings(
            epochs=1, batch_size=20, optimizer=optimizer, weight_decay=decay, learning_rate=0.1
        )
        call(random_rows(1, 200), None, NETWORK, settings, options(tmp_path / str(decay)))
        arguments = read_checkpoint(tmp_path / str(decay)).network.arguments
        found.append(np.abs(arguments["weight"].to_dense()).mean())
    assert found[1] < 0.9 * found[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": ["a"]}, "labels: 1 names for 4 labels"),
        ({"feature_names": ["a"]}, "feature_names: 1 names for 30 features"),
        ({"name": "a/b"}, "not a file name"),
        ({"initial": {"weight": np.zeros((30, 16), np.float32)}}, "missing or unknown"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, change, message):
    with pytest.raises(MxnetError, match=message):
        call(random_rows(1, 20), None, NETWORK, FitSettings(epochs=1), options(tmp_path, **change))
