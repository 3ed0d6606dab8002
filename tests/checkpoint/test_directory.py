"""Checkpoints in directories: found, read, written, and what is said when they are not there."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest
from support.mxnet_process import shared_process
from support.networks import FACTORIES, propensity, random_feeds, random_rows

from fastprop._reference import reference_outputs
from fastprop.checkpoint.directory import (
    CheckpointFiles,
    find_checkpoint,
    read_checkpoint,
    read_checkpoint_files,
    write_checkpoint,
)
from fastprop.checkpoint.params import write_params
from fastprop.errors import InvalidInputError, ModelFormatError
from fastprop.graph.network import Network


def same_outputs(first: Network, second: Network) -> None:
    feeds = random_feeds(np.random.default_rng(9), first, 4)
    for a, b in zip(reference_outputs(first, feeds), reference_outputs(second, feeds)):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", FACTORIES)
def test_written_checkpoints_are_read_back(tmp_path, name):
    network = FACTORIES[name](np.random.default_rng(0))
    files = write_checkpoint(tmp_path / "new", name, 7, network)
    assert files == find_checkpoint(tmp_path / "new")
    checkpoint = read_checkpoint(tmp_path / "new")
    assert checkpoint.files.epoch == 7
    assert checkpoint.labels is None
    assert checkpoint.network.graph.nodes == network.graph.nodes
    same_outputs(network, checkpoint.network)


def test_mxnets_module_loads_what_was_written(tmp_path):
    network = propensity(np.random.default_rng(0), n_heads=2)
    write_checkpoint(tmp_path, "m", 3, network)
    rows = random_rows(np.random.default_rng(1), 5, 60)
    found = shared_process().call("module_forward", str(tmp_path / "m"), 3, {"data": rows})
    for a, b in zip(found, reference_outputs(network, {"data": rows})):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_a_gluon_export_is_read(tmp_path):
    text, parameters = shared_process().call("gluon_export", 8, 3, 5)
    (tmp_path / "net-symbol.json").write_text(text)
    (tmp_path / "net-0003.params").write_bytes(parameters)
    network = read_checkpoint(tmp_path).network
    assert [(spec.name, spec.shape) for spec in network.inputs] == [("data", (5,))]
    assert len(network.auxiliary) == 2
    feeds = random_feeds(np.random.default_rng(1), network, 6)
    found = shared_process().call(
        "forward", text, dict(network.arguments), dict(network.auxiliary), feeds
    )
    np.testing.assert_allclose(found[0], reference_outputs(network, feeds)[0], atol=1e-6)


def test_labels_and_features(tmp_path):
    network = propensity(np.random.default_rng(0), n_heads=2)
    names = [f"Merkmal {i} ü" for i in range(60)]
    write_checkpoint(tmp_path, "m", 0, network, labels=["a b", "c:é"], feature_names=names)
    checkpoint = read_checkpoint(tmp_path)
    assert checkpoint.labels == ["a b", "c:é"]
    assert checkpoint.feature_names == names


@pytest.mark.parametrize("text", ["a\nb\n", "a\nb", "a\r\nb\r\n", "\ufeffa\nb\n"])
def test_line_ends_of_other_editors(tmp_path, text):
    write_checkpoint(tmp_path, "m", 0, propensity(np.random.default_rng(0), n_heads=2))
    (tmp_path / "m-labels.txt").write_bytes(text.encode())
    assert read_checkpoint(tmp_path).labels == ["a", "b"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a\n\nb\n", "line 2 is empty"),
        (b"a\nb\na\n", "line 3 repeats line 1, 'a'"),
        (b"a\n\xff\n", "not UTF-8 at byte 2"),
    ],
)
def test_bad_labels_are_refused_with_the_line(tmp_path, content, message):
    write_checkpoint(tmp_path, "m", 0, propensity(np.random.default_rng(0)))
    (tmp_path / "m-labels.txt").write_bytes(content)
    with pytest.raises(ModelFormatError, match=f"m-labels.txt: {message}"):
        read_checkpoint(tmp_path)


def test_the_latest_epoch_and_the_only_name_are_chosen(tmp_path):
    network = propensity(np.random.default_rng(0))
    for epoch in (9, 10, 12000):
        write_checkpoint(tmp_path, "m-1", epoch, network)
    (tmp_path / "m-1-abcd.params").write_bytes(b"")
    assert find_checkpoint(tmp_path).epoch == 12000
    assert find_checkpoint(tmp_path).params.name == "m-1-12000.params"
    assert find_checkpoint(tmp_path, epoch=9).params.name == "m-1-0009.params"
    write_checkpoint(tmp_path, "m", 3, network)
    assert find_checkpoint(tmp_path, "m").epoch == 3
    assert find_checkpoint(tmp_path, "m-1").epoch == 12000


def test_errors_say_what_is_there(tmp_path):
    with pytest.raises(ModelFormatError, match=r"nowhere: cannot be read"):
        find_checkpoint(tmp_path / "nowhere")
    with pytest.raises(ModelFormatError, match=r"no checkpoint .*it holds: nothing"):
        find_checkpoint(tmp_path)
    (tmp_path / "a-symbol.json").write_text("{}")
    with pytest.raises(ModelFormatError, match=r"no parameters of 'a'.*it holds: a-symbol.json"):
        find_checkpoint(tmp_path)
    (tmp_path / "a-0001.params").write_bytes(b"")
    with pytest.raises(ModelFormatError, match=r"no epoch 2 of 'a'; there are: 1"):
        find_checkpoint(tmp_path, epoch=2)
    (tmp_path / "b-symbol.json").write_text("{}")
    with pytest.raises(ModelFormatError, match=r"several checkpoints; choose a name: a, b"):
        find_checkpoint(tmp_path)
    with pytest.raises(ModelFormatError, match=r"no checkpoint 'c'; there are: a, b"):
        find_checkpoint(tmp_path, "c")
    (tmp_path / "a-00001.params").write_bytes(b"")
    with pytest.raises(ModelFormatError, match=r"epoch 1 of 'a' is in both"):
        find_checkpoint(tmp_path, "a")


def test_explicit_files(tmp_path):
    network = propensity(np.random.default_rng(0), n_heads=2)
    files = write_checkpoint(tmp_path, "m", 4, network, labels=["a", "b"])
    files.symbol.rename(tmp_path / "net.json")
    files.params.rename(tmp_path / "weights.bin")
    checkpoint = read_checkpoint_files(
        tmp_path / "net.json", str(tmp_path / "weights.bin"), labels=tmp_path / "m-labels.txt"
    )
    assert checkpoint.files.epoch is None
    assert checkpoint.files.name == "net"
    assert checkpoint.labels == ["a", "b"]
    same_outputs(network, checkpoint.network)
    with pytest.raises(ModelFormatError, match=r"gone.json: cannot be read"):
        read_checkpoint_files(tmp_path / "gone.json", tmp_path / "weights.bin")
    with pytest.raises(InvalidInputError, match=r"choose files"):
        read_checkpoint(checkpoint.files, epoch=1)


def test_what_names_no_files_is_refused(tmp_path):
    network = propensity(np.random.default_rng(0))
    for name in ("", "a/b", ".."):
        if name != "..":
            with pytest.raises(InvalidInputError, match=r"not a name"):
                write_checkpoint(tmp_path, name, 0, network)
    with pytest.raises(InvalidInputError, match=r"epoch -1"):
        write_checkpoint(tmp_path, "m", -1, network)
    with pytest.raises(InvalidInputError, match=r"labels\[1\] is empty or has a line break"):
        write_checkpoint(tmp_path, "m", 0, network, labels=["a", "b\nc", "d"])
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_of_a_gigabyte_opens_in_milliseconds(tmp_path):
    network = propensity(np.random.default_rng(0), hidden=(8,), weight="dense")
    write_checkpoint(tmp_path, "m", 0, network)
    start = time.process_time()
    read_checkpoint(tmp_path)
    assert time.process_time() - start < 0.5


def test_prefixes_decide_nothing_that_the_graph_knows(tmp_path):
    network = FACTORIES["softmax-classes"](np.random.default_rng(0))
    files = write_checkpoint(tmp_path, "m", 0, network)
    write_params(files.params, {**network.arguments, **network.auxiliary})
    assert set(read_checkpoint(tmp_path).network.auxiliary) == set(network.auxiliary)
    assert isinstance(files, CheckpointFiles)
    assert json.loads(files.symbol.read_text())["attrs"]["mxnet_version"] == ["int", 10901]
