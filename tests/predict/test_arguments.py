"""Arguments of the package's face that cannot be used, each refused by its name."""

from __future__ import annotations

import functools
import os

import numpy as np
import pytest
from support.models import retail, rows_for, saved
from support.networks import FACTORIES

import fastprop
from fastprop import DTypeError, InvalidInputError, ModelFormatError, ShapeError


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return retail(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def predictor(model):
    with model.predictor(threads=1) as predictor:
        yield predictor


@pytest.mark.parametrize("path", [None, b"models", 5, ["models"], True], ids=repr)
def test_what_is_no_path_is_refused(path):
    for make in (fastprop.load_model, fastprop.CompiledModel):
        with pytest.raises(DTypeError, match=r"(directory|path) is .*, and a (path|str) is needed"):
            make(path)


def test_paths_that_name_nothing_are_refused():
    with pytest.raises(InvalidInputError, match=r"directory is 'a\\x00b', and no path holds a NUL"):
        fastprop.load_model("a\0b")
    with pytest.raises(InvalidInputError, match="directory is empty"):
        fastprop.load_model("")
    with pytest.raises(ModelFormatError, match="cannot be read: File name too long"):
        fastprop.load_model("x" * 5000)
    with pytest.raises(InvalidInputError, match=r"directory is .*, and holds what no path"):
        fastprop.load_model("\ud800")


BAD_SHAPES = {
    "a number": (5, "input_shapes is 5, and a mapping"),
    "a list": ([1], r"input_shapes is \[1\], and a mapping"),
    "an int": ({"data": 5}, r"input_shapes\['data'\] is 5, and a tuple of whole numbers"),
    "text": ({"data": "200"}, r"input_shapes\['data'\] is '200', and a tuple"),
    "none": ({"data": None}, r"input_shapes\['data'\] is None, and a tuple"),
    "a float": ({"data": (200.0,)}, r"input_shapes\['data'\]\[0\] is 200.0, and a whole number"),
    "unknown": ({"data": (None,)}, r"input_shapes\['data'\]\[0\] is None, and a whole number"),
    "negative": ({"data": (-1,)}, r"input_shapes\['data'\]\[0\] is -1, and 1 to"),
}


@pytest.mark.parametrize("case", BAD_SHAPES)
def test_input_shapes_map_names_to_whole_numbers(model, tmp_path, case):
    shapes, message = BAD_SHAPES[case]
    model.compile(tmp_path / "m.fastprop")
    for path in (model.path.parent, tmp_path / "m.fastprop"):
        with pytest.raises(InvalidInputError, match=message):
            fastprop.load_model(path, input_shapes=shapes)


@pytest.mark.parametrize("shape", [(200,), [200], np.array([200])], ids=repr)
def test_input_shapes_of_any_sequence(model, shape):
    assert fastprop.load_model(model.path.parent, input_shapes={"data": shape}).n_features == 200


@pytest.mark.parametrize("option", ["epoch", "positive_index"])
@pytest.mark.parametrize("given", ["1", True, 1.0, [1], np.array([1]), np.bool_(True)], ids=repr)
def test_numbers_that_choose_are_whole(model, tmp_path, option, given):
    model.compile(tmp_path / "m.fastprop")
    for path in (model.path.parent, tmp_path / "m.fastprop"):
        with pytest.raises(DTypeError, match=f"{option} is .*, and a whole number is needed"):
            fastprop.load_model(path, **{option: given})


def test_numbers_of_numpy_choose_as_well(model):
    for kind in (np.int32, np.int64, np.uint8):
        assert fastprop.load_model(model.path.parent, epoch=kind(1)).epoch == 1
    for epoch in (-1, 0, 9999, 10000):
        with pytest.raises(ModelFormatError, match=f"no epoch {epoch} of 'model'; there are: 1"):
            fastprop.load_model(model.path.parent, epoch=epoch)


def test_choices_that_a_compiled_model_does_not_have(model, tmp_path):
    model.compile(tmp_path / "m.fastprop")
    with pytest.raises(InvalidInputError, match="compiled from 'model', epoch 1, not ''"):
        fastprop.load_model(tmp_path / "m.fastprop", "")
    with pytest.raises(InvalidInputError, match="allow_operators is 'some'"):
        fastprop.load_model(tmp_path / "m.fastprop", allow_operators="some")


BAD_OPTIONS = {
    "pool_limit": ["x", 1.5, True, [1], 1 << 64],
    "isa": [5, 1.5, [1], True, "\ud800"],
    "translator": [5, "x", object(), fastprop.Translator],
    "engine": [5, None, np.array([1, 2])],
    "weights": [None, np.array([1, 2])],
    "nonfinite": [None, np.array([1, 2])],
    "null_rows": [True, np.array([1, 2])],
    "threads": ["2", 1.0, np.array([1])],
    "optimize": [None, 2, "False", "", np.array([True, False])],
    "whole_graph": [None, 3, "True", np.array([True, False])],
}


@pytest.mark.parametrize(
    ("option", "given"), [(name, given) for name, values in BAD_OPTIONS.items() for given in values]
)
def test_options_of_a_predictor(model, option, given):
    for make in (model.predictor, functools.partial(fastprop.Predictor, model)):
        with pytest.raises(InvalidInputError, match=f"^{option} is "):
            make(**{option: given})


@pytest.mark.parametrize("name", [5, b"model", ["model"], np.array(["model", "x"])], ids=repr)
def test_a_name_that_no_model_has(model, tmp_path, name):
    model.compile(tmp_path / "m.fastprop")
    with pytest.raises(ModelFormatError, match=r"no checkpoint .*; there are: model"):
        fastprop.load_model(model.path.parent, name)
    with pytest.raises(InvalidInputError, match="compiled from 'model', epoch 1, not "):
        fastprop.load_model(tmp_path / "m.fastprop", name)


@pytest.mark.parametrize("given", [None, "native", 5, [1], np.array([1, 2])], ids=repr)
def test_outputs_and_engines_of_a_model(model, given):
    with pytest.raises(InvalidInputError, match=r"output is .*, and one of"):
        model.compiled(given)
    with pytest.raises(DTypeError, match=r"plan is .*, and an EnginePlan is needed"):
        model.engine(given)


@pytest.mark.parametrize("given", [None, 2, "no", np.array([True, False])], ids=repr)
def test_whether_labels_are_a_dictionary(predictor, model, given):
    with pytest.raises(DTypeError, match=r"dictionary is .*, and True or False is needed"):
        predictor.predict_arrow(rows_for(model, 2), top_k=2, dictionary=given)


def test_a_class_is_no_translator_and_a_path_no_model():
    with pytest.raises(DTypeError, match=r"checkpoint is 'models', .*load_model"):
        fastprop.Model("models")
    with pytest.raises(DTypeError, match=r"model is None, .*load_model"):
        fastprop.Predictor(None)


@pytest.mark.parametrize("inputs", [5, [1], "x", [], True, [("other", 1)]], ids=repr)
def test_further_inputs_are_a_mapping(predictor, model, inputs):
    rows = rows_for(model, 2)
    for call in (predictor.predict, predictor.predict_top_k, predictor.predict_outputs):
        with pytest.raises(DTypeError, match=r"inputs is .*, and a mapping"):
            call(rows, inputs=inputs)


def test_a_further_input_of_unequal_lists(tmp_path):
    model = saved(tmp_path, FACTORIES["wide-and-deep"](np.random.default_rng(0)))
    name = model.inputs[1].name
    with model.predictor() as predictor, pytest.raises(ShapeError, match=f"'{name}'. is no array"):
        predictor.predict(rows_for(model, 2), inputs={name: [[1.0], [1.0, 2.0]]})


@pytest.mark.parametrize("k", [None, "3", 1.5, [3], True], ids=repr)
def test_k_is_a_whole_number(predictor, model, k):
    with pytest.raises(DTypeError, match=r"k is .*, and a whole number is needed"):
        predictor.predict_top_k(rows_for(model, 2), k=k)
    with pytest.raises(DTypeError, match=r"k is .*, and a whole number is needed"):
        fastprop.LabelledTopK(k)


BAD_THRESHOLDS = ["0.5", b"0.5", "", 1j, {}, True, [None], [[1], [1, 2]], 10**400, float("nan")]


@pytest.mark.parametrize("threshold", BAD_THRESHOLDS, ids=lambda given: repr(given)[:20])
def test_a_threshold_is_a_number(predictor, model, threshold):
    with pytest.raises(InvalidInputError, match=r"^threshold is "):
        predictor.predict_top_k(rows_for(model, 2), threshold=threshold)
    with pytest.raises(InvalidInputError, match=r"^threshold is "):
        fastprop.LabelledTopK(3, threshold=threshold)


def test_thresholds_beyond_float32(predictor, model):
    rows = rows_for(model, 2)
    for threshold in (1e300, np.longdouble("1e4000"), [1e300] * model.n_labels):
        assert (predictor.predict_top_k(rows, threshold=threshold).indices == -1).all()
    all_labels = predictor.predict_top_k(rows, model.n_labels).indices
    top = predictor.predict_top_k(rows, model.n_labels, threshold=-1e300)
    np.testing.assert_array_equal(top.indices, all_labels)


def test_a_mask_of_unequal_lists(predictor, model):
    with pytest.raises(ShapeError, match="allowed is no array"):
        predictor.predict_top_k(rows_for(model, 2), allowed=[[True], [True, False]])


@pytest.mark.parametrize("path", [None, b"m.fastprop", 5, ["m"], "a\0b", ""], ids=repr)
def test_a_model_is_compiled_to_a_path(model, path):
    with pytest.raises(InvalidInputError, match=r"^path is "):
        model.compile(path)


def test_a_folder_that_is_not_there_is_named_as_given(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("gone/m.fastprop")
    for path, folder in (
        ("none/m.fastprop", "none"),
        (tmp_path / "none" / "m", tmp_path / "none"),
        ("file/m.fastprop", "file"),
        ("link", tmp_path / "gone"),
    ):
        with pytest.raises(fastprop.OutputError) as caught:
            model.compile(path)
        assert str(caught.value) == f"{path}: cannot be written: there is no folder {folder}"
        assert isinstance(caught.value, OSError)
    with pytest.raises(fastprop.OutputError, match=r"^x+: cannot be written: File name too long$"):
        model.compile("x" * 250)
    assert sorted(os.listdir(tmp_path)) == ["file", "link"]


def test_a_pipe_is_not_replaced(model, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(fastprop.OutputError, match=r"pipe: cannot be written: is no regular file"):
        model.compile(tmp_path / "pipe")
    assert (tmp_path / "pipe").is_fifo()
    assert os.listdir(tmp_path) == ["pipe"]


@pytest.mark.parametrize("weights", [None, [1], "float64"], ids=repr)
def test_weights_to_compile(model, tmp_path, weights):
    with pytest.raises(InvalidInputError, match="weights is "):
        model.compile(tmp_path / "m.fastprop", weights=weights)
