"""Files in, scores out: what is read, what scores it, and where it goes, put together."""

from __future__ import annotations

import contextlib
import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Callable

import numpy as np
import pyarrow as pa
from pyarrow import fs

from fastprop.checks import column_name, shown, whole_number
from fastprop.errors import DTypeError, InvalidInputError
from fastprop.io.apart import check_outside, check_unlike
from fastprop.io.arguments import as_options, check_progress, check_scorer, model_identity
from fastprop.io.batches import ReadOptions, default_batch_rows
from fastprop.io.files import (
    InputFile,
    Location,
    check_named_once,
    check_target,
    find_inputs,
    locate,
    reaching,
    without_query,
)
from fastprop.io.options import ScoreOptions
from fastprop.io.outputs import DirectoryOutput, FileOutput, Output
from fastprop.io.plan import Plan, make_plan
from fastprop.io.results import label_names
from fastprop.io.routing import Route
from fastprop.io.run import ProgressCallback, Run, ScoreProgress, ScoreSummary
from fastprop.io.scoring import BatchScorer, RoutedScorer, Scorer, Selection
from fastprop.io.writers import OutputSchema, format_of_output

__all__ = [
    "RoutedModel",
    "ScoreOptions",
    "ScoreProgress",
    "ScoreSummary",
    "Scorer",
    "score_files",
    "score_files_by_model",
    "writes_directory",
]

_MAX_FEATURES = (1 << 63) - 1


def score_files(
    predictor: Scorer,
    inputs: Sequence[str],
    output: str,
    *,
    n_features: int,
    labels: Sequence[str],
    options: ScoreOptions | None = None,
    model: Mapping[str, Any] | None = None,
    progress: ProgressCallback | None = None,
) -> ScoreSummary:
    """Score files of sparse rows and write the results.

    Parameters
    ----------
    predictor : Scorer
        What scores.
    inputs : sequence of str
        Files, directories and patterns; local or any URI that `pyarrow.fs` understands.
    output : str
        A file, or a directory for parts: a path that ends with `/`, that is a directory, or
        that has no extension.
    n_features : int
        Number of columns of the model.
    labels : sequence of str
        Its labels, in order.
    options : ScoreOptions, optional
    model : mapping, optional
        What identifies the model, fit for JSON; a run is resumed only with the same.
    progress : callable, optional
        Called now and then with a `ScoreProgress`, on the writer's thread.

    Returns
    -------
    ScoreSummary

    Raises
    ------
    InvalidInputError
        If an argument cannot be used, and nothing is written; if an input cannot be read, or a row
        is bad and `on_bad_row` is `"error"`; names the file, the place and the id. Finished parts
        stay.
    PredictorClosedError
        If the predictor is closed.
    OutputError
        If the output cannot be written.

    Notes
    -----
    Memory is a few batches, whatever the size of the input: see `ScoreOptions.batch_rows`.
    """
    check_scorer("predictor", predictor)
    options = as_options(options)
    labels = label_names("labels", labels).to_pylist()
    n_features = whole_number("n_features", n_features, _MAX_FEATURES)
    read_options = _read_options(options, n_features, len(labels))

    def make_scorer(_: Any) -> BatchScorer:
        return BatchScorer(
            predictor,
            n_features=n_features,
            n_labels=len(labels),
            selection=Selection(options.top_k, options.threshold),
            collect_faults=read_options.collect_faults,
        )

    return _score(inputs, output, read_options, labels, make_scorer, options, model, progress)


@dataclass(frozen=True, eq=False)
class RoutedModel:
    """One of several models that rows are scored with.

    Parameters
    ----------
    n_features : int
        Number of its columns.
    labels : sequence of str
        Its labels, in order.
    open : callable
        Makes its predictor; called once, when the first row for it comes.
    """

    n_features: int
    labels: Sequence[str]
    open: Callable[[], Scorer]


def score_files_by_model(
    models: Mapping[str, RoutedModel],
    inputs: Sequence[str],
    output: str,
    *,
    column: str,
    options: ScoreOptions | None = None,
    model: Mapping[str, Any] | None = None,
    progress: ProgressCallback | None = None,
) -> ScoreSummary:
    """Score files whose rows are for several models; rows keep their order.

    Parameters
    ----------
    models : mapping of str to RoutedModel
        The models by name.
    column : str
        The column that names a row's model: of the file, the key of a JSON record, or that of a
        folder, `region=eu/`. A row that names no model is a bad row.
    inputs, output, options, model, progress
        As for `score_files`.

    Raises
    ------
    InvalidInputError
        As `score_files`; or if all scores are to be kept and the models' labels differ.
    OutputError
        If the output cannot be written.
    """
    options = as_options(options)
    column_name("column", column)
    models = _checked_models(models)
    if not models:
        raise InvalidInputError("there is no model to score with")
    selection = Selection(options.top_k, options.threshold)
    if not selection.ranked:
        _require_equal_labels(models)
    labels = list(dict.fromkeys(label for each in models.values() for label in each.labels))
    most = max(len(each.labels) for each in models.values())
    width = most if options.top_k is None else min(options.top_k, most)
    place = {label: number for number, label in enumerate(labels)}
    route = Route(column, {name: each.n_features for name, each in models.items()})
    read_options = replace(_read_options(options, 0, most), route=route)

    def opener(each: RoutedModel) -> Callable[[], BatchScorer]:
        return lambda: BatchScorer(
            check_scorer("what a model's open() gives", each.open()),
            n_features=each.n_features,
            n_labels=len(each.labels),
            selection=selection,
            collect_faults=read_options.collect_faults,
        )

    def make_scorer(id_type: Any) -> RoutedScorer:
        return RoutedScorer(
            {name: opener(each) for name, each in models.items()},
            numbers={
                name: np.array([place[label] for label in each.labels], np.int32)
                for name, each in models.items()
            },
            id_type=id_type,
            width=width,
            ranked=selection.ranked,
        )

    return _score(inputs, output, read_options, labels, make_scorer, options, model, progress)


def _checked_models(models: Any) -> dict[str, RoutedModel]:
    """The models, each with labels that are a list of str."""
    if not isinstance(models, Mapping):
        raise DTypeError(f"models is {shown(models)}, and a mapping of names to them is needed")
    checked = {}
    for name, each in models.items():
        place = f"models[{shown(name)}]"
        if not isinstance(name, str):
            raise DTypeError(f"{place}: names are str, as the column has them as text")
        if not isinstance(each, RoutedModel):
            raise DTypeError(f"{place} is {shown(each)}, and a RoutedModel is needed")
        if not callable(each.open):
            raise DTypeError(
                f"{place}.open is {shown(each.open)}, and a function is needed that makes a "
                "predictor"
            )
        checked[name] = RoutedModel(
            whole_number(f"{place}.n_features", each.n_features, _MAX_FEATURES),
            label_names(f"{place}.labels", each.labels).to_pylist(),
            each.open,
        )
    return checked


def _require_equal_labels(models: Mapping[str, RoutedModel]) -> None:
    (first, one), *others = models.items()
    for name, other in others:
        if list(other.labels) != list(one.labels):
            raise InvalidInputError(
                f"the models {first!r} and {name!r} have different labels, so their scores do not "
                "go into one table: ask for the best ones (top_k or a threshold)"
            )


def _read_options(options: ScoreOptions, n_features: int, n_labels: int) -> ReadOptions:
    return ReadOptions(
        n_features=n_features,
        id_column=options.id_column,
        features_column=options.features_column,
        indices_column=options.indices_column,
        values_column=options.values_column,
        batch_rows=options.batch_rows
        or default_batch_rows(n_labels, ranked=options.top_k is not None),
        collect_faults=options.on_bad_row != "error",
        svmlight_base=options.svmlight_base,
        keep_null_rows=options.null_rows == "keep",
        keep=options.keep_columns,
    )


def _score(
    inputs: Sequence[str],
    output: str,
    read_options: ReadOptions,
    labels: Sequence[str],
    make_scorer: Callable[[Any], BatchScorer | RoutedScorer],
    options: ScoreOptions,
    model: Mapping[str, Any] | None,
    progress: ProgressCallback | None,
) -> ScoreSummary:
    identity = model_identity(model)
    check_progress(progress)
    is_directory = writes_directory(output)
    files = find_inputs(inputs)
    check_named_once(files)
    plan = make_plan(
        files,
        read_options,
        part_rows=options.part_rows if is_directory else None,
        input_format=options.input_format,
    )
    schema = OutputSchema(
        id_column=options.id_column,
        id_type=plan.id_type,
        labels=pa.array(list(labels), pa.string()),
        ranked=Selection(options.top_k, options.threshold).ranked,
        compression=options.compression,
        kept=tuple(zip(options.keep_columns, plan.kept_types)),
    )
    if is_directory:
        check_outside(files, locate(output))
    target = _output(output, is_directory, plan, schema, options, read_options, identity)
    if isinstance(target, FileOutput):
        check_unlike(files, target.files)
    with contextlib.closing(target):
        scorer = make_scorer(plan.id_type)
        return Run(scorer, plan, target, progress, options.read_ahead, options.readers).run()


def writes_directory(output: str) -> bool:
    """Tell whether an output is a directory of parts rather than a file.

    It is if the path ends with `/`, is a directory already, or has no extension.
    """
    location = locate(output)
    with reaching(location.name):
        is_directory = location.info().type == fs.FileType.Directory
    if is_directory or without_query(output).endswith("/"):
        return True
    return not posixpath.splitext(location.path)[1]


def _format(output: str, options: ScoreOptions, is_directory: bool) -> str:
    location = locate(output)
    known = None if is_directory else format_of_output(location.path)
    output_format = options.output_format or known
    if output_format is None and not is_directory:
        raise InvalidInputError(
            f"{location.name}: the extension names no output format; name the format, or end the "
            "path with / for a directory"
        )
    return output_format or "parquet"


def _output(
    output: str,
    is_directory: bool,
    plan: Plan,
    schema: OutputSchema,
    options: ScoreOptions,
    read_options: ReadOptions,
    model: Mapping[str, Any],
) -> Output:
    quarantine = options.on_bad_row == "quarantine"
    output_format = _format(output, options, is_directory)
    if not is_directory:
        if options.resume:
            raise InvalidInputError(
                f"{locate(output).name}: only a directory of parts can be resumed; a file is "
                "written at once"
            )
        check_target(locate(output))
        return FileOutput(locate(output), output_format, schema, quarantine, options.histogram)
    job = {
        "model": model,
        "model_column": None if read_options.route is None else read_options.route.column,
        "n_features": read_options.n_features,
        "n_labels": len(schema.labels),
        "format": output_format,
        "compression": options.compression,
        "top_k": options.top_k,
        "threshold": options.threshold,
        "id_column": options.id_column,
        "features_column": options.features_column,
        "indices_column": options.indices_column,
        "values_column": options.values_column,
        "keep_columns": list(options.keep_columns),
        "on_bad_row": options.on_bad_row,
        "null_rows": options.null_rows,
        "batch_rows": read_options.batch_rows,
        "part_rows": options.part_rows,
        "histogram": options.histogram,
        "svmlight_base": options.svmlight_base,
        "inputs": [_describe(file) for file in plan.files],
    }
    return DirectoryOutput(
        _folder(locate(output)),
        output_format=output_format,
        schema=schema,
        quarantine=quarantine,
        histogram=options.histogram,
        job=job,
        parts=plan.parts,
        resume=options.resume,
        overwrite=options.overwrite,
    )


def _folder(location: Location) -> Location:
    return Location(
        location.filesystem, location.path.rstrip("/") or "/", location.name.rstrip("/") or "/"
    )


def _describe(file: InputFile) -> dict[str, Any]:
    return {"name": file.name, "bytes": file.size, "modified": file.modified}
