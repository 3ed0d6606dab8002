"""Compiled models: the bits of the checkpoint's own, and files that lie."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support.models import rows_for, saved
from support.networks import FACTORIES, propensity, random_feeds

import fastprop
from fastprop import _core
from fastprop.compiled.document import read_document
from fastprop.compiled.safetensors import read_safetensors, write_safetensors


def compiled(model, folder, **options):
    path = folder / "model.fastprop"
    model.compile(path, **options)
    return fastprop.load_model(path)


@pytest.mark.parametrize("weights", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", FACTORIES)
def test_scores_and_heads_are_the_bits_of_the_checkpoint(tmp_path, name, weights):
    rng = np.random.default_rng(5)
    network = FACTORIES[name](rng)
    model = saved(tmp_path, network)
    file = compiled(model, tmp_path, weights=weights)
    file.check()
    inputs = random_feeds(rng, network, 11)
    rows = inputs.pop(model.inputs[0].name)
    held = {"float32": "mapped", "bfloat16": "bfloat16"}[weights]
    for isa in _core.instruction_sets():
        theirs = model.predictor(engine="native", isa=isa, weights=held)
        with theirs, file.predictor(isa=isa) as ours:
            np.testing.assert_array_equal(
                ours.predict(rows, inputs=inputs), theirs.predict(rows, inputs=inputs)
            )
            for mine, other in zip(
                ours.predict_outputs(rows, inputs=inputs),
                theirs.predict_outputs(rows, inputs=inputs),
            ):
                np.testing.assert_array_equal(mine, other)


def test_what_it_says_of_itself_is_the_checkpoints(tmp_path):
    model = saved(tmp_path, FACTORIES["wide-and-deep"](np.random.default_rng(0)))
    file = compiled(model, tmp_path)
    for fact in ("name", "epoch", "n_features", "n_labels", "labels", "feature_names"):
        assert getattr(file, fact) == getattr(model, fact), fact
    assert file.input_row_shapes == model.input_row_shapes
    assert file.head_row_shapes == model.head_row_shapes
    assert [spec.name for spec in file.inputs] == [spec.name for spec in model.inputs]
    assert isinstance(file, fastprop.Model)
    assert "engine: native" in file.describe()


def test_names_of_labels_and_features_are_kept(tmp_path):
    features = [f"f {number}" for number in range(60)]
    fastprop.checkpoint.directory.write_checkpoint(
        tmp_path,
        "retail",
        7,
        propensity(np.random.default_rng(0)),
        labels=["beer", "wein", "brød"],
        feature_names=features,
    )
    file = compiled(fastprop.load_model(tmp_path), tmp_path)
    assert (file.name, file.epoch) == ("retail", 7)
    assert file.labels == ["beer", "wein", "brød"]
    assert file.feature_names == features


def test_what_both_plans_read_is_kept_once(tmp_path):
    model = saved(tmp_path, propensity(np.random.default_rng(0), n_features=3000))
    file = compiled(model, tmp_path)
    weights = [t for name, t in file.file.tensors.items() if name.endswith(".weight")]
    assert [weight.shape for weight in weights] == [(3000, 16)]


def test_needs_of_the_checkpoint_are_refused(tmp_path):
    file = compiled(saved(tmp_path, propensity(np.random.default_rng(0))), tmp_path)
    for options in ({"engine": "mxnet"}, {"optimize": False}, {"whole_graph": True}):
        with pytest.raises(fastprop.InvalidInputError, match="has the native engine alone"):
            file.predictor(**options)
    with pytest.raises(fastprop.InvalidInputError, match="held as they were compiled"):
        file.predictor(weights="copied")
    with pytest.raises(fastprop.EngineError, match="holds no graph"):
        _ = file.network
    for options in ({"name": "other"}, {"epoch": 9}, {"positive_index": 1}):
        with pytest.raises(fastprop.InvalidInputError, match="compiled"):
            fastprop.load_model(file.path, **options)
    assert fastprop.load_model(file.path, "model", 1).epoch == 1


def test_the_positive_index_is_kept(tmp_path):
    model = saved(tmp_path, propensity(np.random.default_rng(0)), positive_index=1)
    file = compiled(model, tmp_path)
    rows = rows_for(model, 5)
    with model.predictor(engine="native") as theirs, file.predictor() as ours:
        np.testing.assert_array_equal(ours.predict(rows), theirs.predict(rows))
    assert fastprop.load_model(file.path, positive_index=1).positive_index == 1


def test_what_the_engine_does_not_know_is_not_compiled(tmp_path):
    from support.operator_networks import Bench

    made = Bench(np.random.default_rng(0))
    model = saved(tmp_path, made.network([made.op("Cast", made.hidden(), dtype="float16")]))
    with pytest.raises(fastprop.EngineError, match=r"\(Cast\)"):
        model.compile(tmp_path / "model.fastprop")
    assert not (tmp_path / "model.fastprop").exists()


def rewritten(path, change):
    """The file with another description."""
    file = read_safetensors(path)
    tensors = {name: tensor.copy() for name, tensor in file.tensors.items()}
    metadata = dict(file.metadata)
    change(metadata, tensors)
    write_safetensors(path, tensors, metadata)


def test_other_versions_and_other_files_are_refused(tmp_path):
    file = compiled(saved(tmp_path, propensity(np.random.default_rng(0))), tmp_path)
    rewritten(file.path, lambda metadata, _: metadata.update(version="2"))
    with pytest.raises(fastprop.ModelFormatError, match="version 2, and this fastprop reads"):
        fastprop.load_model(file.path)
    rewritten(file.path, lambda metadata, _: metadata.pop("format"))
    with pytest.raises(fastprop.ModelFormatError, match="no compiled model"):
        fastprop.load_model(file.path)


def test_a_file_of_a_checkpoint_is_no_compiled_one(tmp_path):
    model = saved(tmp_path, propensity(np.random.default_rng(0)))
    for path in (model.path, *model.path.parent.glob("*.json")):
        with pytest.raises(fastprop.InvalidInputError, match="give the directory that holds them"):
            fastprop.load_model(path)
    model.compile(tmp_path / "compiled.json")
    assert fastprop.load_model(tmp_path / "compiled.json").labels == model.labels


def test_a_link_stays_one(tmp_path):
    model = saved(tmp_path, propensity(np.random.default_rng(0)))
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder")
    with pytest.raises(OSError, match=r"Is a directory: .*folder"):
        model.compile(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert list((tmp_path / "folder").iterdir()) == []
    (tmp_path / "old.fastprop").write_bytes(b"old")
    (tmp_path / "latest").symlink_to("old.fastprop")
    model.compile(tmp_path / "latest")
    assert (tmp_path / "latest").is_symlink()
    assert fastprop.load_model(tmp_path / "old.fastprop").labels == model.labels


def test_tensors_that_are_missing_are_named(tmp_path):
    file = compiled(saved(tmp_path, propensity(np.random.default_rng(0))), tmp_path)
    rewritten(file.path, lambda _, tensors: tensors.pop("parameters/dot0.weight"))
    with pytest.raises(fastprop.ModelFormatError, match=r"model.fastprop: plan scores: .*dot0"):
        fastprop.load_model(file.path).predictor()
    rewritten(file.path, lambda _, tensors: tensors.pop("text/labels"))
    with pytest.raises(fastprop.ModelFormatError, match="no labels"):
        fastprop.load_model(file.path)


ODD = (-1, 0, 1, 3, 7, 1 << 31, 1 << 47, 1 << 70, 2.5, True, None, "x", "", [], {}, "scores")


def places(facts, at=()):
    """Every place of a document, itself left out."""
    items = facts.items() if isinstance(facts, dict) else enumerate(facts)
    for key, value in items:
        yield (*at, key)
        if isinstance(value, (dict, list)):
            yield from places(value, (*at, key))


@pytest.mark.parametrize("name", ["propensity-partial", "wide-and-deep", "factorization-machine"])
def test_a_description_that_lies_never_gets_to_kernels(tmp_path, name):
    """Whatever is put into whatever place: refused, or scored without harm."""
    rng = np.random.default_rng(1)
    network = FACTORIES[name](rng)
    file = compiled(saved(tmp_path, network), tmp_path)
    inputs = random_feeds(rng, network, 3)
    rows = inputs.pop(file.inputs[0].name)
    text = file.file.metadata["model"]
    found = list(places(json.loads(text)))
    outcomes = {True: 0, False: 0}
    for _ in range(400):
        facts = json.loads(text)
        *way, last = found[rng.integers(len(found))]
        inner = facts
        for key in way:
            inner = inner[key]
        inner[last] = ODD[rng.integers(len(ODD))]
        lying = {**file.file.metadata, "model": json.dumps(facts)}
        try:
            document = read_document(lying, "lying.fastprop")
            file._document = document
            file._engines = {}
            with file.predictor(threads=1, pool_limit=1 << 28) as predictor:
                predictor.predict(rows, inputs=inputs)
            outcomes[True] += 1
        except fastprop.FastpropError:
            outcomes[False] += 1
    assert outcomes[False] > 100, outcomes


def test_flipped_bytes_of_the_header_do_no_harm(tmp_path):
    file = compiled(saved(tmp_path, propensity(np.random.default_rng(0))), tmp_path)
    rows = rows_for(file, 3)
    content = file.path.read_bytes()
    length = 8 + len(content[8:].split(b"}}}")[0])
    rng = np.random.default_rng(3)
    refused = 0
    for _ in range(150):
        damaged = bytearray(content)
        damaged[rng.integers(length)] ^= 1 << rng.integers(8)
        path = tmp_path / "damaged.fastprop"
        path.write_bytes(damaged)
        try:
            with fastprop.load_model(path).predictor(threads=1, pool_limit=1 << 28) as predictor:
                predictor.predict(rows)
        except fastprop.FastpropError:
            refused += 1
    assert refused > 50


SHARED = """
import sys, re
import numpy as np
import fastprop
def private():
    text = open("/proc/self/smaps_rollup").read()
    return sum(int(n) for n in re.findall(r"Private_(?:Clean|Dirty):\\s+(\\d+) kB", text))
model = fastprop.load_model(sys.argv[1])
before = private()
with model.predictor(threads=1) as predictor:
    predictor.predict([(np.arange(0, 20_000, 7), np.ones(2858))])
    print(private() - before)
assert not fastprop._core.library_loaded()
"""


def test_processes_share_the_weights(tmp_path):
    network = propensity(np.random.default_rng(0), n_features=20_000, hidden=(512,))
    file = compiled(saved(tmp_path, network), tmp_path)
    with file.predictor(threads=1) as predictor:  # this process maps the same pages
        wanted = predictor.predict([(np.arange(0, 20_000, 7), np.ones(2858))])
        assert np.isfinite(wanted).all()
        done = subprocess.run(
            [sys.executable, "-c", SHARED, str(file.path)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    size = Path(file.path).stat().st_size / 1024
    assert int(done.stdout) < 0.25 * size, (done.stdout, size)
