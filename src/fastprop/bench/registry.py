"""Who takes part in a run: one `ContenderSpec` a line of the comparison."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

from fastprop.bench.contenders.base import ContenderSpec
from fastprop.bench.process import THREAD_VARIABLES
from fastprop.bench.settings import BenchSettings
from fastprop.errors import InvalidInputError

__all__ = ["BASELINE", "TOP_K", "contender_specs", "select_specs"]

BASELINE = "mxnet-naive"
TOP_K = 20

# What `Model.predictor` is told, by the path through fastprop that it asks for.
FASTPROP_PATHS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "fastprop": ("fastprop", {}),
    "fastprop-copied": ("fastprop, weight in huge pages", {"weights": "copied"}),
    "fastprop-bf16": ("fastprop, bfloat16 weight", {"weights": "bfloat16"}),
    "fastprop-int8": ("fastprop, int8 dense layers", {"weights": "int8"}),
    "fastprop-whole": ("fastprop, whole graph", {"whole_graph": True}),
}
ONE_THREAD_COUNT = ("fastprop-copied", "fastprop-whole")
# Precision and tolerance of those that hold weights in another one than float32.
REDUCED: Mapping[str, tuple[str, float]] = {
    "fastprop-bf16": ("bfloat16", 0.01),
    "fastprop-int8": ("int8", 0.05),
}


def contender_specs(settings: BenchSettings) -> list[ContenderSpec]:
    """List every contender for these settings, the baseline first."""
    batch = settings.batch_size
    most = max(settings.threads)
    return [
        *mxnet_specs(batch, most),
        ContenderSpec(
            name=f"scipy@{most}",
            title="SciPy + NumPy",
            kind="scipy",
            threads=most,
            batch_size=batch,
            environment=thread_environment(most),
        ),
        ContenderSpec(
            name=f"onnxruntime@{most}",
            title="ONNX Runtime",
            kind="onnxruntime",
            threads=most,
            batch_size=batch,
        ),
        *torch_specs(settings),
        *fastprop_specs(settings),
    ]


def mxnet_specs(batch: int, threads: int) -> list[ContenderSpec]:
    """MXNet's Module; its default environment uses every processor."""
    default: dict[str, str | None] = {"MXNET_ENGINE_TYPE": None}
    return [
        ContenderSpec(
            name=BASELINE,
            title="MXNet Module, a record a call",
            kind="mxnet",
            threads=threads,
            batch_size=1,
            rows_per_call=1,
            environment=default,
            compiles=True,
        ),
        ContenderSpec(
            name="mxnet-batch",
            title=f"MXNet Module, {batch} a batch",
            kind="mxnet",
            threads=threads,
            batch_size=batch,
            rows_per_call=batch,
            environment=default,
            compiles=True,
        ),
        ContenderSpec(
            name="mxnet-batch-naive-engine",
            title=f"MXNet Module, {batch} a batch, NaiveEngine",
            kind="mxnet",
            threads=threads,
            batch_size=batch,
            rows_per_call=batch,
            environment={"MXNET_ENGINE_TYPE": "NaiveEngine"},
            compiles=True,
        ),
    ]


def torch_specs(settings: BenchSettings) -> list[ContenderSpec]:
    """PyTorch: eager and compiled for each number of threads, and a row a call."""
    specs = []
    for compiled in (False, True):
        for threads in settings.threads:
            specs.append(
                ContenderSpec(
                    name=f"torch{'-compiled' if compiled else ''}@{threads}",
                    title="PyTorch, compiled" if compiled else "PyTorch",
                    kind="torch",
                    threads=threads,
                    batch_size=settings.batch_size,
                    options={"compiled": compiled},
                    environment=thread_environment(threads),
                    compiles=compiled,
                    sweep=not compiled and threads == max(settings.threads),
                )
            )
    for threads in sorted({1, max(settings.threads)}):
        specs.append(
            ContenderSpec(
                name="torch-single" + (f"@{threads}" if threads > 1 else ""),
                title=f"PyTorch, one row, {threads} thread{'s' if threads > 1 else ''}",
                kind="torch",
                threads=threads,
                batch_size=1,
                rows_per_call=1,
                environment=thread_environment(threads),
            )
        )
    return specs


def fastprop_specs(settings: BenchSettings) -> list[ContenderSpec]:
    """Every path through fastprop by engine, top-k, lists, and a row a call."""
    most = max(settings.threads)
    specs: list[ContenderSpec] = []
    for engine in settings.engines:
        suffix, note, choice = "", "", {}
        if engine != "auto":
            suffix, note, choice = f"-{engine}", f", engine {engine}", {"engine": engine}
        for name, (title, predictor) in FASTPROP_PATHS.items():
            precision, tolerance = REDUCED.get(name, ("float32", None))
            if precision not in ("float32", *settings.precisions):
                continue
            if engine == "mxnet" and precision == "int8":
                continue
            for threads in settings.threads:
                if name in ONE_THREAD_COUNT and threads != most:
                    continue
                specs.append(
                    ContenderSpec(
                        name=f"{name}{suffix}@{threads}",
                        title=f"{title}{note}",
                        kind="fastprop",
                        threads=threads,
                        batch_size=settings.batch_size,
                        options={"predictor": {**predictor, **choice}},
                        sweep=not predictor and threads == most,
                        same_work=name not in REDUCED,
                        tolerance=tolerance,
                    )
                )
        further: tuple[tuple[str, str, int, dict[str, Any], int | None], ...] = (
            (f"top{TOP_K}", f"top {TOP_K}", most, {"top_k": TOP_K}, None),
            ("lists", "lists of sparse vectors", most, {"rows": "vectors"}, None),
            ("single", "one row", most, {}, 1),
            ("single-vector", "one sparse vector", most, {"rows": "vectors"}, 1),
        )
        for name, title, threads, options, rows_per_call in further:
            specs.append(
                ContenderSpec(
                    name=f"fastprop{suffix}-{name}" + ("" if rows_per_call else f"@{threads}"),
                    title=f"fastprop{note}, {title}",
                    kind="fastprop",
                    threads=threads,
                    batch_size=settings.batch_size,
                    rows_per_call=rows_per_call,
                    options={**options, "predictor": dict(choice)},
                    same_work="top_k" not in options,
                )
            )
    return specs


def thread_environment(threads: int) -> dict[str, str | None]:
    """Variables that OpenMP, OpenBLAS and MKL read."""
    return dict.fromkeys(THREAD_VARIABLES, str(threads))


def select_specs(specs: list[ContenderSpec], patterns: tuple[str, ...]) -> list[ContenderSpec]:
    """Keep the specs that a pattern names, in their order.

    Raises
    ------
    InvalidInputError
        A pattern names nobody; lists who there is.
    """
    for pattern in patterns:
        if not any(fnmatchcase(spec.name, pattern) for spec in specs):
            raise InvalidInputError(
                f"no contender is called {pattern!r}; there are "
                f"{', '.join(spec.name for spec in specs)}"
            )
    return [spec for spec in specs if any(fnmatchcase(spec.name, p) for p in patterns)]
