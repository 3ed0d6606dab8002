"""Rows through every engine, precision, instruction set and number of threads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Callable

import numpy as np

from fastprop.checks import instance, shown
from fastprop.compiled.model import CompiledModel
from fastprop.errors import DTypeError, FastpropError, InvalidInputError
from fastprop.graph.passes.split_sparse_layer import split_sparse_layer
from fastprop.model import Model
from fastprop.typing import CSR
from fastprop.verify.compare import Agreement, Differences, same_bits
from fastprop.verify.oracle import expected_scores
from fastprop.verify.report import Check, VerifyReport
from fastprop.verify.sample import Sample, make_sample
from fastprop.verify.settings import VerifySettings
from fastprop.verify.ways import AS_SAVED, Way, all_ways, compiled_ways

__all__ = ["verify_model"]

Progress = Callable[[int, int, str], None]
BEHIND_KERNEL = ("mxnet", "split")


def verify_model(
    model: Model,
    settings: VerifySettings | None = None,
    *,
    rows: CSR | None = None,
    compiled: CompiledModel | None = None,
    progress: Progress | None = None,
) -> VerifyReport:
    """Score rows in every way and hold the scores against plain NumPy and MXNet's own graph.

    Parameters
    ----------
    model : Model
        Its engines are released as the work goes on: at most one is held at a time. A compiled one
        is held against its own steps, computed by NumPy with the weights that the file holds.
    settings : VerifySettings, optional
    rows : CSR, optional
        Rows of the user, beside those that are made up.
    compiled : CompiledModel, optional
        The same checkpoint compiled to a file, which is held against the oracles as well.
    progress : callable, optional
        Called with what has been done, what there is to do, and what comes next.

    Returns
    -------
    VerifyReport
        Ways that cannot run are in it, with the reason.

    Raises
    ------
    InvalidInputError
        The rows do not fit the model, or the compiled file is of another one.
    ModelFormatError
        The data of a compiled file is not what was written.
    """
    instance("model", model, Model)
    settings = VerifySettings() if settings is None else settings
    instance("settings", settings, VerifySettings)
    if compiled is not None:
        instance("compiled", compiled, CompiledModel)
    if progress is not None and not callable(progress):
        raise DTypeError(f"progress is {shown(progress)}, and a function is needed")
    if isinstance(model, CompiledModel):
        if compiled is not None:
            raise InvalidInputError(
                f"{model.path}: compiled itself; its checkpoint goes beside one"
            )
        compiled = model
    if compiled is not None:
        compiled.check()
        check_same_model(model, compiled)
    sample = make_sample(model, settings, rows)
    return Verification(model, compiled, settings, sample, progress or (lambda *_: None)).run()


def check_same_model(model: Model, compiled: CompiledModel) -> None:
    """Refuse a compiled file whose rows or scores are others'; what differs else shows in them."""
    if (model.input_row_shapes, model.labels) != (compiled.input_row_shapes, compiled.labels):
        raise InvalidInputError(
            f"{compiled.path} is not {model.name!r} compiled: its inputs or labels are others"
        )


@dataclass
class Tally:
    """What has been found about one way so far."""

    way: Way
    differences: Differences = field(default_factory=Differences)
    from_mxnet: Differences = field(default_factory=Differences)
    agreement: Agreement = field(default_factory=lambda: Agreement(0.0))
    same_bits: bool = True
    wrong_selection: bool = False
    problem: str = ""  # why it cannot run
    failure: str = ""  # what broke it after it had run


@dataclass
class Block:
    """Rows [begin, end) of the sample and their right scores."""

    begin: int
    end: int
    expected: Any = None  # by NumPy, from the graph or the steps of a compiled file
    saved: Any = None  # by MXNet, the graph as saved


class Verification:
    """One run of `verify_model`.

    Rows go through in blocks of bounded size; for each block the oracles answer once, then every
    way is tried, one engine at a time.
    """

    def __init__(
        self,
        model: Model,
        compiled: CompiledModel | None,
        settings: VerifySettings,
        sample: Sample,
        progress: Progress,
    ) -> None:
        self.model = model
        self.compiled = compiled
        self.settings = settings
        self.sample = sample
        self.progress = progress
        self.scale = 1.0
        self.k = min(settings.k, model.n_labels)
        ways = [] if compiled is None else compiled_ways(compiled.document.weights)
        if compiled is model:
            self.oracles = {"steps": "", "mxnet": "a compiled file holds no graph"}
        else:
            self.oracles = {"numpy": "", "mxnet": ""}
            ways += all_ways()
        self.by_numpy = next(iter(self.oracles))
        self.tallies = [Tally(way) for way in ways]

    def run(self) -> VerifyReport:
        """Do it all."""
        blocks = list(self.blocks())
        steps, done = len(blocks) * (1 + len(self.tallies)), 0
        self.name_what_cannot_run()
        for block in blocks:
            self.progress(done, steps, "the oracles")
            self.ask_oracles(block)
            done += 1
            for tally in self.tallies:
                self.progress(done, steps, f"{tally.way.title}, {tally.way.precision}")
                if not tally.problem and not tally.failure:
                    self.try_way(tally, block)
                done += 1
        self.progress(done, steps, "done")
        return self.report()

    def blocks(self) -> Iterator[Block]:
        # An odd number of rows, so that the last tile of each block is partial.
        size = max(1, self.settings.block_scores // max(self.model.n_labels, 1)) | 1
        for begin in range(0, self.sample.n_rows, size):
            yield Block(begin, min(begin + size, self.sample.n_rows))

    def name_what_cannot_run(self) -> None:
        split = [
            tally for tally in self.tallies if (tally.way.engine, tally.way.graph) == BEHIND_KERNEL
        ]
        if split and split_sparse_layer(self.model.optimized) is None:
            for tally in split:
                tally.problem = "the rows are not read by one sparse layer alone"

    def ask_oracles(self, block: Block) -> None:
        rows, inputs = self.sample.part(block.begin, block.end)
        if not self.oracles[self.by_numpy]:
            try:
                block.expected = expected_scores(self.model, rows, inputs)
            except FastpropError as error:
                self.oracles[self.by_numpy] = str(error)
        if not self.oracles["mxnet"]:
            try:
                with AS_SAVED.predictor(
                    self.model, threads=1, batch_size=self.settings.batch_size
                ) as predictor:
                    block.saved = predictor.predict(rows, inputs=inputs)
            except FastpropError as error:
                self.oracles["mxnet"] = str(error)
            finally:
                self.model.release_engines()
        right = self.judgement(block)
        if right is not None and right.size:
            # NaN and infinity are no measure of how large scores are.
            finite = np.abs(right[np.isfinite(right)])
            self.scale = max(self.scale, float(finite.max(initial=0.0)))

    @property
    def judge(self) -> str:
        """What scores are held against."""
        return next((name for name, problem in self.oracles.items() if not problem), "none")

    def judgement(self, block: Block) -> Any:
        return block.expected if self.judge == self.by_numpy else block.saved

    def tolerance(self, precision: str) -> float:
        return self.settings.tolerance(precision) * self.scale

    def try_way(self, tally: Tally, block: Block) -> None:
        """Score a block with every number of threads."""
        first: tuple[Any, ...] | None = None
        began = block.begin > 0
        try:
            for threads in self.settings.threads:
                answer = self.answer(tally.way, threads, block)
                if first is None:
                    first, began = answer, True
                    self.measure(tally, block, *answer)
                elif not all(map(same_bits, answer, first)):
                    tally.same_bits = False
        except InvalidInputError:
            raise  # the rows' fault
        except FastpropError as error:
            if began:
                tally.failure = str(error)
            else:
                tally.problem = str(error)
        finally:
            self.model.release_engines()

    def answer(self, way: Way, threads: int, block: Block) -> tuple[Any, ...]:
        rows, inputs = self.sample.part(block.begin, block.end)
        compiled = self.compiled if way.graph == "compiled" else None
        with way.predictor(
            compiled or self.model, threads=threads, batch_size=self.settings.batch_size
        ) as predictor:
            scores = predictor.predict(rows, inputs=inputs)
            top = predictor.predict_top_k(rows, self.k, inputs=inputs)
        return scores, top.scores, top.indices

    def measure(self, tally: Tally, block: Block, scores: Any, best: Any, labels: Any) -> None:
        own = np.take_along_axis(scores, np.maximum(labels, 0).astype(np.int64), axis=1)
        if not np.array_equal(best[labels >= 0], own[labels >= 0]):
            tally.wrong_selection = True
        right = self.judgement(block)
        if right is None:
            return
        tally.differences.add(scores, right, block.begin)
        tally.agreement.slack = 2 * self.tolerance("float32")
        tally.agreement.add(labels, right)
        if block.saved is not None:
            tally.from_mxnet.add(scores, block.saved, block.begin)

    def report(self) -> VerifyReport:
        checks = tuple(map(self.check, self.tallies))
        ran = [check for check in checks if check.status != "unavailable"]
        return VerifyReport(
            model=self.model.name,
            epoch=self.model.epoch,
            passed=bool(ran) and all(check.status == "passed" for check in ran),
            judge=self.judge,
            oracles=self.oracles,
            checks=checks,
            scale=self.scale,
            n_given=self.sample.n_given,
            n_random=self.sample.n_random,
            n_edge_cases=len(self.sample.edges),
            n_labels=self.model.n_labels,
            seed=self.settings.seed,
            k=self.k,
            threads=self.settings.threads,
            batch_size=self.settings.batch_size,
            min_agreement=self.settings.min_agreement,
            int8_min_agreement=self.settings.int8_min_agreement,
        )

    def check(self, tally: Tally) -> Check:
        tolerance = self.tolerance(tally.way.precision)
        if tally.problem:
            return Check(tally.way, "unavailable", tally.problem, tolerance)
        reasons = self.faults(tally, tolerance)
        worst = ""
        if tally.differences.row is not None and tally.differences.column is not None:
            label = self.model.labels[tally.differences.column]
            worst = f"{self.sample.describe(tally.differences.row)}, label {label!r}"
        measured = self.judge != "none"
        beside_mxnet = measured and not self.oracles["mxnet"]
        return Check(
            way=tally.way,
            status="failed" if reasons else "passed",
            reason="; ".join(reasons),
            tolerance=tolerance,
            max_difference=tally.differences.largest if measured else None,
            mean_difference=tally.differences.mean if measured else None,
            worst=worst,
            mxnet_max_difference=tally.from_mxnet.largest if beside_mxnet else None,
            mxnet_mean_difference=tally.from_mxnet.mean if beside_mxnet else None,
            top_k_agreement=tally.agreement.share if measured else None,
            same_bits=tally.same_bits,
        )

    def faults(self, tally: Tally, tolerance: float) -> list[str]:
        """Why a way that ran does not pass."""
        reasons = [tally.failure] if tally.failure else []
        if self.judge == "none":
            reasons.append("there is no oracle to hold it against")
        if not tally.differences.largest <= tolerance:
            reasons.append(f"a score differs by {tally.differences.largest:.3g}")
        needed = self.settings.needed_agreement(tally.way.precision)
        if tally.agreement.share < needed:
            reasons.append(
                f"{tally.agreement.share:.2%} of the best {self.k} labels are right, and "
                f"{needed:.2%} are needed"
            )
        if not tally.same_bits:
            reasons.append("scores depend on the number of threads")
        if tally.wrong_selection:
            reasons.append("selected labels have other scores than all labels have")
        return reasons
