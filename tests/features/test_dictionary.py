from __future__ import annotations

import json

import numpy as np
import pytest

from fastprop.errors import InvalidInputError, ModelFormatError
from fastprop.features import FeatureDictionary, FeatureSettings
from fastprop.features.dictionary import check_names
from fastprop.features.sparse import from_pairs


def dictionary(**options):
    values = {
        "settings": FeatureSettings(half_lives_days=(30.0,), windows_days=(28,)),
        "items": ("a", "b", "c"),
        "categories": ("x",),
        "attributes": (("country", ("DE", "FR")),),
        "periods": ("2024-01-01",),
        "has_categories": True,
        "label_level": "item",
        "labels": ("c", "new", "a"),
    }
    return FeatureDictionary(**{**values, **options})


def test_names_and_columns_agree():
    d = dictionary()
    names = d.names()
    assert len(names) == d.n_features == 4 * 5 + 6 + 2 + 1
    assert len(set(names)) == len(names)
    assert names[d.start("category")] == "category:x:bought"
    assert names[d.start("attribute country")] == "country=DE"
    assert [names[c] for c in d.customer_columns()][:2] == ["customer:known", "customer:recency"]
    assert [names[c] for c in d.period_columns()] == ["period:2024-01-01"]
    own = d.own_columns()
    assert own.shape == (3, 5)
    assert [names[c] for c in own[0]][:2] == ["item:c:bought", "item:c:count"]
    assert (own[1] == -1).all()


def test_category_labels_point_at_categories():
    d = dictionary(label_level="category", labels=("x",))
    assert d.names()[d.own_columns()[0, 0]] == "category:x:bought"


@pytest.mark.parametrize("hash_width", [None, 17])
def test_a_saved_dictionary_is_the_same(tmp_path, hash_width):
    settings = FeatureSettings(hash_width=hash_width, windows_days=(7,), spend=False)
    d = dictionary(settings=settings, items=("naïve", "ü\u2028"))
    d.save(tmp_path / "d.json")
    loaded = FeatureDictionary.load(tmp_path / "d.json")
    assert vars(loaded)["settings"] == settings
    for name in ("items", "categories", "attributes", "periods", "labels", "label_level"):
        assert getattr(loaded, name) == getattr(d, name)
    assert loaded.names() == d.names()
    assert [path.name for path in tmp_path.iterdir()] == ["d.json"]


def damaged(change):
    def write(path):
        dictionary().save(path)
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))

    return write


@pytest.mark.parametrize(
    "write",
    [
        lambda path: path.write_text("{"),
        lambda path: path.write_text("[]"),
        lambda path: path.write_bytes(b"\xff\xfe"),
        damaged(lambda content: content.pop("items")),
        damaged(lambda content: content.update(items="abc")),
        damaged(lambda content: content["settings"].update(colour=1)),
        damaged(lambda content: content["settings"].update(windows_days=[3, 2])),
        damaged(lambda content: content.update(format="other")),
    ],
)
def test_damaged_files_are_named(tmp_path, write):
    path = tmp_path / "d.json"
    write(path)
    with pytest.raises(ModelFormatError, match=r"d\.json"):
        FeatureDictionary.load(path)


def test_hashing_needs_no_list_and_fits_its_width():
    d = dictionary(
        settings=FeatureSettings(hash_width=23, windows_days=(7,)), items=(), categories=()
    )
    assert d.start("customer") == 23
    assert len(d.names()) == d.n_features
    assert d.names()[-10] == "hash:unused:22" or "hash:unused:22" in d.names()
    keys = d.keys("item", np.array(["a", "b", "never seen"], dtype=object))
    assert ((keys >= 0) & (keys < 23 // d.n_measures)).all()
    assert d.own_columns().min() >= 0
    assert d.own_columns().max() < 23


@pytest.mark.parametrize("hash_width", [None, 11])
def test_own_counts(hash_width):
    items = ("a", "b", "c") if hash_width is None else ()
    settings = FeatureSettings(hash_width=hash_width, half_lives_days=(), windows_days=())
    d = dictionary(settings=settings, items=items, categories=())
    generator = np.random.default_rng(0)
    full = generator.random((6, d.n_features)) * (generator.random((6, d.n_features)) < 0.5)
    rows, columns = np.nonzero(full)
    features = from_pairs(rows, columns, full[rows, columns], shape=full.shape)
    expected = np.zeros((6, 3), np.float32)
    for label, column in enumerate(d.own_columns()[:, d.settings.measures.index("count")]):
        if column >= 0:
            expected[:, label] = full[:, column]
    np.testing.assert_array_equal(d.own_counts(features), expected)
    uncounted = dictionary(settings=FeatureSettings(counts=False))
    assert uncounted.own_counts(features) is None


def test_names_with_line_breaks_are_refused():
    assert check_names(["a b", "é"], "item") == ("a b", "é")
    for bad in ("a\nb", "a\n", "a\u2028b", "a\r"):
        with pytest.raises(InvalidInputError, match="line break"):
            check_names([bad], "item")
