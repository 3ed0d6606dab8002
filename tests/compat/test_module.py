"""A script written for MXNet gives the same numbers after only its import is changed."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
import scipy.sparse
from support.models import expected_heads, retail, rows_for, saved
from support.networks import FACTORIES, random_feeds

import fastprop
import fastprop.compat as mx

SCRIPT = """
import sys
{imports}
import numpy as np
import scipy.sparse

prefix, source, target = sys.argv[1:]
given = np.load(source)
rows = scipy.sparse.csr_matrix((given["data"], given["indices"], given["indptr"]), shape=(24, 200))
module = mx.mod.Module.load(prefix, 1, context=mx.cpu(), label_names={labels})
module.bind(data_shapes=[("data", (8, 200))], for_training=False)
first = rows[:8]
batch = mx.io.DataBatch(
    data=[mx.nd.sparse.csr_matrix((first.data, first.indices, first.indptr), shape=(8, 200))])
module.forward(batch, is_train=False)
outputs = [output.asnumpy() for output in module.get_outputs()]
everything = mx.nd.sparse.csr_matrix((rows.data, rows.indices, rows.indptr), shape=rows.shape)
iterator = mx.io.NDArrayIter(everything, batch_size=8, last_batch_handle="discard")
outputs += [output.asnumpy() for output in module.predict(iterator)]
np.savez(target, *outputs)
"""

IMPORTS = {
    "mxnet": "from fastprop.training._mxnet import import_mxnet\nmx = import_mxnet()",
    "compat": "import fastprop.compat as mx",
    "mixed": "from fastprop.training._mxnet import import_mxnet\nmx = import_mxnet()\n"
    "mx.nd.zeros(1).asnumpy()\nfrom fastprop.compat import Module\nmx.mod.Module = Module",
}


def run_script(imports, script, *arguments, **names):
    done = subprocess.run(
        [sys.executable, "-c", script.format(imports=IMPORTS[imports], **names), *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_only_the_import_changes(tmp_path):
    model = retail(tmp_path, n_heads=5)
    rows = rows_for(model, 24)
    np.savez(tmp_path / "rows.npz", data=rows.data, indices=rows.indices, indptr=rows.indptr)
    labels = [f"category{i}_softmax_label" for i in range(5)]
    outputs = {}
    for name in IMPORTS:
        places = [str(tmp_path / file) for file in ("model", "rows.npz", f"{name}.npz")]
        run_script(name, SCRIPT, *places, labels=labels)
        with np.load(tmp_path / f"{name}.npz") as stored:
            outputs[name] = dict(stored)
    assert len(outputs["mxnet"]) == 10
    for name in ("compat", "mixed"):
        for file in outputs["mxnet"]:
            np.testing.assert_allclose(
                outputs[name][file], outputs["mxnet"][file], atol=2e-6, rtol=0
            )


ARRAYS = """
import numpy as np
{imports}

def show(array):
    array.wait_to_read()
    print(repr(array), array.dtype.__name__, array.stype, len(array), array.shape)

wide = np.arange(6.0).reshape(3, 2)
show(mx.nd.array([[1, 2.5]]))
show(mx.nd.array(wide))
show(mx.nd.array(wide, dtype="int32")[1:])
show(mx.nd.array(mx.nd.array(wide, dtype="int32")))
print(mx.nd.array([7]).asscalar())
for data in (wide, [wide] + 10 * [wide[:, :1]], [wide], dict(b=wide, a=wide[:, 1])):
    iterator = mx.io.NDArrayIter(data, np.arange(3), batch_size=2, data_name="rows")
    for _ in range(2):
        print([(one.name, tuple(one.shape)) for one in iterator.provide_data])
        for batch in iterator:
            print(batch.pad, [one.asnumpy().tolist() for one in batch.data])
        iterator.reset()
"""


def test_arrays_and_their_iterator_are_those_of_mxnet():
    printed = run_script("mxnet", ARRAYS)
    assert "<NDArray 3x2 @cpu(0)> float32 default 3 (3, 2)" in printed
    assert run_script("compat", ARRAYS) == printed


def test_padding_merging_and_names(tmp_path):
    model = retail(tmp_path, n_heads=2)
    rows = rows_for(model, 10)
    matrix = scipy.sparse.csr_matrix((rows.data, rows.indices, rows.indptr), shape=rows.shape)
    module = mx.mod.Module.load(str(tmp_path / "model"), 1)
    iterator = mx.io.NDArrayIter(matrix, batch_size=4)
    module.bind(iterator.provide_data)
    assert module.output_names == ["category0_softmax_output", "category1_softmax_output"]
    assert module.output_shapes == [(name, (4, 2)) for name in module.output_names]
    wanted = expected_heads(model, {"data": rows})
    merged = module.predict(iterator)
    assert [head.shape for head in merged] == [(10, 2), (10, 2)]
    np.testing.assert_allclose(merged[1].asnumpy(), wanted[1], atol=2e-6)
    assert [len(batch[0]) for batch in module.predict(iterator, merge_batches=False)] == [4, 4, 2]
    assert len(module.predict(iterator, num_batch=1)[0]) == 4
    assert len(module.predict(matrix)[0]) == 10
    assert len(module.predict(matrix.toarray())[0]) == 10
    assert merged[0][0].shape == (2,)
    assert np.asarray(merged[0]).dtype == np.float32


def test_several_inputs(tmp_path):
    rng = np.random.default_rng(0)
    network = FACTORIES["wide-and-deep"](rng)
    model = saved(tmp_path, network)
    feeds = random_feeds(rng, network, 6)
    names = [spec.name for spec in reversed(model.inputs)]
    module = mx.Module.load(str(tmp_path / "model"), 1, data_names=names)
    module.bind([(name, feeds[name].shape) for name in names])
    module.forward(mx.io.DataBatch(data=[feeds[name] for name in names]))
    np.testing.assert_allclose(
        module.get_outputs()[0].asnumpy(), expected_heads(model, feeds)[0], atol=2e-6
    )


@pytest.mark.parametrize("make", ["triple", "triple of arrays", "scipy", "dense"])
def test_sparse_rows_are_made_of(make):
    dense = np.array([[0, 2, 0], [0, 0, 0], [1, 0.5, 0]])
    matrix = scipy.sparse.csr_matrix(dense)
    parts = (matrix.data, matrix.indices, matrix.indptr)
    made = {
        "triple": parts,
        "triple of arrays": tuple(mx.nd.array(part, dtype=part.dtype) for part in parts),
        "scipy": matrix,
        "dense": mx.nd.array(dense),
    }
    rows = mx.nd.sparse.csr_matrix(made[make])
    # Without a shape, a triple is as wide as its columns go.
    assert rows.shape == ((3, 2) if "triple" in make else (3, 3))
    assert rows.data.dtype == np.float32
    assert [part.tolist() for part in (rows.data, rows.indices, rows.indptr)] == [
        part.tolist() for part in parts
    ]
    assert mx.nd.sparse.csr_matrix(made[make], shape=(3, 9)).shape == (3, 9)


def test_rows_without_entries_have_no_width_of_their_own():
    assert mx.nd.sparse.csr_matrix(([], [], [0, 0, 0])).shape == (2, 0)
    with pytest.raises(fastprop.DTypeError, match="csr_matrix cannot be made of list"):
        mx.nd.sparse.csr_matrix([1, 2])


SIX = np.zeros((6, 2))


@pytest.mark.parametrize(
    ("data", "options", "reason"),
    [
        (SIX, {"shuffle": True}, "shuffle is for training"),
        (SIX, {"last_batch_handle": "roll_over"}, "is 'roll_over', and one of"),
        (SIX, {"batch_size": 7}, "batch_size is 7, and there are 6 rows"),
        (SIX, {"batch_size": 0}, "batch_size is 0"),
        ([SIX, SIX[:5]], {}, r"different numbers of rows: \[5, 6\]"),
        ({}, {}, "no inputs"),
    ],
)
def test_an_iterator_that_makes_no_sense_is_refused(data, options, reason):
    with pytest.raises(fastprop.FastpropError, match=reason):
        mx.io.NDArrayIter(data, **options)


def test_a_module_tells_what_it_holds(tmp_path):
    model = retail(tmp_path, n_heads=1)
    module = mx.mod.Module.load(str(tmp_path / "model"), 1)
    assert (module.binded, module.data_names, module.data_shapes) == (False, ["data"], [])
    assert module.output_shapes[0][1] == (0, 2)
    module.bind([mx.io.DataDesc("data", (4, 200))])
    assert (module.binded, module.data_shapes) == (True, [("data", (4, 200))])
    arguments, auxiliary = module.get_params()
    assert set(arguments) == set(model.network.arguments)
    assert set(auxiliary) == set(model.network.auxiliary)
    rows = rows_for(model, 4)
    alone = module.predict(rows)
    (listed,) = module.predict(rows, always_output_list=True)
    np.testing.assert_array_equal(alone.asnumpy(), listed.asnumpy())
    assert alone.shape == (4, 2)
    assert module.predict([]) == []
    # Binding anew changes the shapes, and nothing else.
    module.bind([("data", (1, 200))])
    assert module.output_shapes[0][1] == (1, 2)
    np.testing.assert_array_equal(module.predict(rows).asnumpy(), alone.asnumpy())


def test_what_is_not_there_is_said(tmp_path):
    model = retail(tmp_path)
    prefix = str(tmp_path / "model")
    with pytest.raises(fastprop.InvalidInputError, match="data_names"):
        mx.Module.load(prefix, 1, data_names=["rows"])
    with pytest.raises(fastprop.InvalidInputError, match="train"):
        mx.Module.load(prefix, 1, load_optimizer_states=True)
    with pytest.raises(fastprop.ModelFormatError):
        mx.Module.load(prefix, 2)
    module = mx.Module.load(prefix, 1)
    batch = mx.io.DataBatch(data=[rows_for(model, 2)])
    with pytest.raises(fastprop.FastpropError, match="bind"):
        module.forward(batch)
    with pytest.raises(fastprop.InvalidInputError, match="is_train"):
        module.forward(batch, is_train=True)
    with pytest.raises(fastprop.InvalidInputError, match="'rows' is not an input"):
        module.bind([("rows", (2, 200))])
    with pytest.raises(fastprop.InvalidInputError, match="for_training"):
        module.bind([("data", (2, 200))], for_training=True)
    with pytest.raises(fastprop.InvalidInputError, match="row shape"):
        module.bind([("data", (2, 100))])
    module.bind([("data", (2, 200))])
    with pytest.raises(fastprop.FastpropError, match="forward"):
        module.get_outputs()
    with pytest.raises(fastprop.InvalidInputError, match="arrays"):
        module.forward(mx.io.DataBatch(data=[]))


GARBAGE = [None, 5, 1.5, object(), np.array([1, 2]), b"data"]


@pytest.mark.parametrize("given", [None, 5, b"model", "", "a\0b", np.array([1, 2])], ids=ascii)
def test_what_is_no_prefix(given):
    with pytest.raises(fastprop.InvalidInputError, match=r"^prefix is "):
        mx.mod.Module.load(given, 1)


@pytest.mark.parametrize("given", GARBAGE, ids=lambda given: type(given).__name__)
def test_what_a_module_cannot_be_given(tmp_path, given):
    prefix = str(retail(tmp_path).path.parent / "model")
    module = mx.mod.Module.load(prefix, 1)
    for shapes in (given, [given], [("data", given)], [(given, (2, 200))]):
        with pytest.raises(
            fastprop.InvalidInputError, match=r"data_shapes is|not an input|row shape"
        ):
            module.bind(data_shapes=shapes)
    with pytest.raises(fastprop.DTypeError, match="for_training is"):
        module.bind(data_shapes=[("data", (2, 200))], for_training=given)
    module.bind(data_shapes=[("data", (2, 200))])
    for batch in (given, mx.io.DataBatch(given)):
        with pytest.raises(fastprop.DTypeError, match=r"data_batch is .*, and a batch is needed"):
            module.forward(batch)
    with pytest.raises(fastprop.InvalidInputError):
        module.forward(mx.io.DataBatch([given]))
    with pytest.raises(fastprop.InvalidInputError):
        module.predict(given)
    if not isinstance(given, (int, type(None))):
        with pytest.raises(fastprop.DTypeError, match="num_batch is"):
            module.predict(np.ones((2, 200), np.float32), num_batch=given)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        *(({"data": data}, "and an array is needed") for data in (None, 5, "x", [None], {"a": 1})),
        *(({"batch_size": n}, "batch_size is") for n in (None, 0, -1, 1.5, "2", np.array([1, 2]))),
        ({"shuffle": np.array([True, False])}, "shuffle is"),
        ({"last_batch_handle": np.array(["pad", "discard"])}, "last_batch_handle is"),
        ({"data_name": ["data"]}, "data_name is"),
    ],
)
def test_what_no_iterator_is_made_of(arguments, message):
    with pytest.raises(fastprop.InvalidInputError, match=message):
        mx.io.NDArrayIter(**{"data": np.ones((4, 3), np.float32), "batch_size": 2, **arguments})


def test_what_no_array_is_made_of():
    for make in (
        lambda: mx.nd.array(None),
        lambda: mx.nd.array([[1], [1, 2]]),
        lambda: mx.nd.array([1], dtype="numbers"),
        lambda: mx.nd.sparse.csr_matrix("x"),
        lambda: mx.nd.sparse.csr_matrix((["x"], [0], [0, 1]), shape=(1, 1)),
    ):
        with pytest.raises(fastprop.DTypeError, match="can be made of"):
            make()
