"""The checkpoints that a command scores with: one, or one for each value of a column."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastprop.io.pipeline import RoutedModel
    from fastprop.model import Model
    from fastprop.predictor import Predictor

__all__ = ["ModelChoice"]


@dataclass(frozen=True)
class ModelChoice:
    """Which checkpoint of a directory, and how its scores are read."""

    name: str | None
    epoch: int | None
    positive_index: int | None

    def load(self, path: str | Path) -> Model:
        """Load it from a directory; or a compiled file, which has to be the one chosen."""
        from fastprop import load_model

        return load_model(path, self.name, self.epoch, positive_index=self.positive_index)

    def models(
        self, folders: Mapping[str, Path], threads: int | None, stack: ExitStack
    ) -> dict[str, RoutedModel]:
        """Load checkpoints; predictors are made when they are opened, and closed with the stack."""
        from fastprop.io.pipeline import RoutedModel

        loaded = {}
        for name, folder in folders.items():
            model = self.load(folder)

            def open_predictor(model: Model = model) -> Predictor:
                return stack.enter_context(model.predictor(threads=threads))

            loaded[name] = RoutedModel(model.n_features, model.labels, open_predictor)
        return loaded

    def identity(self, folder: Path) -> dict[str, Any]:
        """Identify a checkpoint by the contents of its files, for a run that may be resumed."""
        from fastprop.checkpoint.directory import find_checkpoint

        if folder.is_file():
            # What was chosen when it was compiled is in it.
            return {"compiled": _digest(folder)}
        files = model_identity(find_checkpoint(folder, self.name, self.epoch))
        index = "all" if self.positive_index is None else str(self.positive_index)
        return {**files, "positive_index": index}


def model_identity(files: Any) -> dict[str, Any]:
    """Digests of a checkpoint's files."""
    present: Mapping[str, Path | None] = {
        "symbol": files.symbol,
        "params": files.params,
        "labels": files.labels,
    }
    return {kind: _digest(path) for kind, path in present.items() if path is not None}


def _digest(path: Path) -> str:
    digest = hashlib.blake2b(digest_size=16)
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
