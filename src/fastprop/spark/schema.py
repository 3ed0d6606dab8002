"""Column types on the driver: what a row may be held in, and what comes out."""

from __future__ import annotations

from typing import Any

from pyspark.ml.linalg import VectorUDT
from pyspark.sql import types

from fastprop.errors import DTypeError, InvalidInputError
from fastprop.spark.task import Columns, Outputs

__all__ = ["check_inputs", "check_outputs", "column_of", "output_types"]

_INTEGERS = (types.IntegerType, types.LongType, types.ShortType, types.ByteType)
_REALS = (types.FloatType, types.DoubleType)
_LAYOUTS = (
    "a vector, map<int,float>, struct<indices:array<int>,values:array<float>> or "
    "array<struct<int,float>>; two arrays are indicesCol and valuesCol"
)


def check_inputs(schema: Any, columns: Columns) -> None:
    """Refuse columns that are missing or hold no rows, before a job is started.

    Raises
    ------
    InvalidInputError
        A column is missing.
    DTypeError
        It has a type that cannot be used.
    """
    if columns.features is not None:
        kind = field_type(schema, columns.features, "featuresCol")
        if not _holds_rows(kind):
            raise DTypeError(
                f"featuresCol {columns.features!r}: {kind.simpleString()} holds no sparse rows; "
                f"expected {_LAYOUTS}"
            )
    if columns.indices is not None:
        kind = field_type(schema, columns.indices, "indicesCol")
        if not _is_array(kind, _INTEGERS):
            raise DTypeError(
                f"indicesCol {columns.indices!r}: {kind.simpleString()}, and an array of integers "
                "is needed"
            )
    if columns.values is not None:
        kind = field_type(schema, columns.values, "valuesCol")
        if not _is_array(kind, _REALS):
            raise DTypeError(
                f"valuesCol {columns.values!r}: {kind.simpleString()}, and an array of float or "
                "double is needed"
            )
    if columns.model is not None:
        kind = field_type(schema, columns.model, "modelCol")
        if not isinstance(kind, (types.StringType, *_INTEGERS)):
            raise DTypeError(
                f"modelCol {columns.model!r}: {kind.simpleString()}, and strings or integers are "
                "needed"
            )


def check_outputs(existing: list[str], made: list[str]) -> None:
    """Refuse output columns that exist or repeat; Spark does not tell names by case.

    Raises
    ------
    InvalidInputError
    """
    taken = {name.casefold(): name for name in existing}
    for name in made:
        if name.casefold() in taken:
            raise InvalidInputError(f"output column {name!r} exists already: choose another name")
        taken[name.casefold()] = name


def output_types(outputs: Outputs) -> list[types.DataType]:
    """Return the type of each output column, in order."""
    pair = types.StructType(
        [
            types.StructField("label", types.StringType()),
            types.StructField("score", types.FloatType()),
        ]
    )
    made: list[types.DataType] = []
    if outputs.probabilities:
        made.append(types.ArrayType(types.FloatType()))
    if outputs.top_k is not None:
        made.append(types.ArrayType(pair))
    if outputs.thresholds is not None:
        made.append(types.ArrayType(types.StringType()))
    return made


def field_type(schema: Any, name: str, what: str) -> types.DataType:
    """Return the type of a column.

    Raises
    ------
    InvalidInputError
        There is none of that name, or more than one.
    """
    found = [field.dataType for field in schema.fields if field.name == name]
    if len(found) != 1:
        problem = "no column" if not found else "more than one column"
        names = ", ".join(field.name for field in schema.fields)
        raise InvalidInputError(f"{what}: {problem} {name!r} (there are: {names})")
    kind: types.DataType = found[0]
    return kind


def column_of(dataset: Any, name: str) -> Any:
    """Return a column by its very name, dots and backticks included."""
    quoted = name.replace("`", "``")
    return dataset[f"`{quoted}`"]


def _is_array(kind: types.DataType, elements: tuple[type, ...]) -> bool:
    return isinstance(kind, types.ArrayType) and isinstance(kind.elementType, elements)


def _holds_rows(kind: types.DataType) -> bool:
    if isinstance(kind, VectorUDT):
        return True
    if isinstance(kind, types.MapType):
        return isinstance(kind.keyType, _INTEGERS) and isinstance(kind.valueType, _REALS)
    if isinstance(kind, types.StructType):
        fields = {field.name: field.dataType for field in kind.fields}
        return (
            {"indices", "values"} <= fields.keys()
            and _is_array(fields["indices"], _INTEGERS)
            and _is_array(fields["values"], _REALS)
        )
    if isinstance(kind, types.ArrayType) and isinstance(kind.elementType, types.StructType):
        pair = [field.dataType for field in kind.elementType.fields]
        return len(pair) == 2 and isinstance(pair[0], _INTEGERS) and isinstance(pair[1], _REALS)
    return False
