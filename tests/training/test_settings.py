from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest

from fastprop.errors import InvalidInputError
from fastprop.training import FitSettings, NetworkSettings


@pytest.mark.parametrize(
    "options",
    [
        {"n_features": 0},
        {"n_labels": 0},
        {"hidden": ()},
        {"hidden": (3, 0)},
        {"activation": "swish"},
        {"dropout": 1.0},
        {"classes": 1},
        {"heads": "many"},
        {"n_labels": 2.5},
        {"hidden": 3},
        {"hidden": (3, "4")},
        {"dropout": float("nan")},
        {"dropout": "0.1"},
        {"classes": None},
        {"heads": np.array(["fused", "separate"])},
    ],
)
def test_bad_networks_are_named(options):
    with pytest.raises(InvalidInputError, match=next(iter(options))):
        NetworkSettings(**{"n_features": 3, "n_labels": 2, **options})


@pytest.mark.parametrize(
    "options",
    [
        {"epochs": 0},
        {"batch_size": 0},
        {"optimizer": "adagrad"},
        {"monitor": "loss"},
        {"checkpoints": "none"},
        {"learning_rate": 0.0},
        {"label_smoothing": 1.0},
        {"patience": 0},
        {"patience": "3"},
        {"epochs": 10**30},
        {"seed": -1},
        {"seed": None},
        {"optimizer": np.array(["adam", "sgd"])},
        {"momentum": float("nan")},
        {"weight_decay": None},
        {"learning_rate": float("inf")},
    ],
)
def test_bad_training_is_named(options):
    with pytest.raises(InvalidInputError, match=next(iter(options))):
        FitSettings(**options)


def test_numbers_of_numpy_become_python_s():
    given = {"n_features": 3, "n_labels": 2, "hidden": (4,), "classes": 3}
    settings = NetworkSettings(**{**given, "hidden": np.array([4]), "classes": np.int64(3)})
    assert json.loads(json.dumps(asdict(settings))) == {**asdict(settings), "hidden": [4]}
    assert settings == NetworkSettings(**given)
