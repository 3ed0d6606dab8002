from __future__ import annotations

import json

import numpy as np
import pytest
from support.networks import propensity

from fastprop.checkpoint.directory import write_checkpoint
from fastprop.cli import main


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inspect")
    network = propensity(np.random.default_rng(0), n_features=60, n_heads=30, weight="partial")
    labels = [f"label [{number}]" for number in range(30)]
    write_checkpoint(folder, "retail", 3, network, labels=labels)
    return folder


def run(*arguments):
    with pytest.raises(SystemExit) as caught:
        main(["inspect", *arguments])
    return caught.value.code


def test_json_holds_everything(folder, capsys):
    assert run(str(folder), "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["name"], facts["epoch"]) == ("retail", 3)
    assert facts["scorable"] is True
    assert (facts["n_features"], facts["n_labels"]) == (60, 30)
    assert facts["labels"][2] == "label [2]"
    assert facts["operators"]["FullyConnected"] == 30
    assert facts["operators"]["SoftmaxOutput"] == 30
    assert "Dropout" not in facts["operators_as_run"]
    assert facts["operators_as_run"]["FullyConnected"] == 1
    assert facts["inputs"] == [
        {"name": "data", "storage": "csr", "row_shape": [60], "dtype": "float32"}
    ]
    files = facts["files"]
    assert sorted(files) == ["labels", "params", "symbol"]
    assert files["params"]["bytes"] == (folder / "retail-0003.params").stat().st_size
    parameters = {item["name"]: item for item in facts["parameters"]}
    weight = parameters["weight"]
    assert (weight["storage"], weight["shape"], weight["dtype"]) == (
        "row_sparse",
        [60, 16],
        "float32",
    )
    assert weight["bytes"] == weight["stored_rows"] * (8 + 16 * 4)
    assert 0 < weight["stored_rows"] < 60
    assert parameters["bias"]["bytes"] == 16 * 4
    # All of it is in the file, with names and shapes around it.
    total = sum(item["bytes"] for item in facts["parameters"])
    assert total < files["params"]["bytes"] < total + 200 * len(parameters) + 100


def test_text_folds_the_heads(folder, capsys):
    assert run(str(folder), "--name", "retail") == 0
    text = capsys.readouterr().out
    assert "retail, epoch 3" in text
    assert "60 features, 30 labels: label [0], label [1]" in text
    assert "graph as saved" in text
    assert "graph as run" in text
    assert "(30)" in text
    assert len(text.splitlines()) < 80


def test_what_cannot_be_scored_is_still_shown(folder, tmp_path, capsys):
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    symbol = tmp_path / "retail-symbol.json"
    symbol.write_text(symbol.read_text().replace('"Activation"', '"Custom"'))
    assert run(str(tmp_path), "--json") == 1
    facts = json.loads(capsys.readouterr().out)
    assert facts["scorable"] is False
    assert "Custom" in facts["problem"]
    assert facts["operators"]["Custom"] == 1
    assert run(str(tmp_path)) == 1
    captured = capsys.readouterr()
    assert "graph as saved" in captured.out
    assert "Custom" in captured.err


def test_what_is_not_there_is_an_error(tmp_path, capsys):
    assert run(str(tmp_path / "none")) == 1
    assert capsys.readouterr().err.startswith(f"error: {tmp_path}/none: ")
