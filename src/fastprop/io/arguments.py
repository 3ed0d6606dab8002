"""What callers score files with, checked before anything is written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from fastprop.checks import shown
from fastprop.errors import DTypeError, PredictorClosedError
from fastprop.io.options import ScoreOptions
from fastprop.io.scoring import Scorer

__all__ = ["as_options", "check_progress", "check_scorer", "model_identity"]


def check_scorer(name: str, given: Any) -> Scorer:
    """What scores rows, and can still do so."""
    for method in ("predict", "predict_top_k"):
        if isinstance(given, type) or not callable(getattr(given, method, None)):
            raise DTypeError(
                f"{name} is {shown(given)}, and what scores is needed: a model's predictor()"
            )
    if getattr(given, "closed", False) is True:
        raise PredictorClosedError(f"{name} is closed: make another with the model's predictor()")
    scorer: Scorer = given
    return scorer


def as_options(given: Any) -> ScoreOptions:
    """The options; None gives the usual ones."""
    if given is None:
        return ScoreOptions()
    if not isinstance(given, ScoreOptions):
        raise DTypeError(f"options is {shown(given)}, and fastprop.io.ScoreOptions(...) is needed")
    return given


def check_progress(given: Any) -> None:
    """Refuse what cannot be called."""
    if given is not None and not callable(given):
        raise DTypeError(f"progress is {shown(given)}, and a function of a ScoreProgress is needed")


def model_identity(given: Any) -> dict[str, Any]:
    """What identifies the model, fit for JSON; None gives nothing."""
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise DTypeError(
            f"model is {shown(given)}, and a mapping that identifies the model is needed, such as "
            "{'name': 'retail', 'epoch': 12}"
        )
    identity = dict(given)
    try:
        json.dumps(identity, ensure_ascii=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise DTypeError(
            f"model is {shown(identity)}, and text and plain numbers are needed, as JSON has them: "
            f"{error}"
        ) from None
    return identity
