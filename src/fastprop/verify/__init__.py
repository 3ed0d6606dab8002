"""Whether every engine, precision, instruction set and number of threads gives the right scores."""

from fastprop.verify.report import Check, VerifyReport
from fastprop.verify.run import verify_model
from fastprop.verify.settings import DEFAULT_TOLERANCES, VerifySettings
from fastprop.verify.ways import Way

__all__ = [
    "DEFAULT_TOLERANCES",
    "Check",
    "VerifyReport",
    "VerifySettings",
    "Way",
    "verify_model",
]
