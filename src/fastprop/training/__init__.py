"""Training of sparse multi-label networks on MXNet's Python API (extra `mxnet`).

MXNet is imported when it is used, here and nowhere else in fastprop.
"""

from __future__ import annotations

from fastprop.training.data import MemorySource, ParquetSource, RowSource, sparse_iterator
from fastprop.training.evaluate import Evaluation, evaluate
from fastprop.training.fit import EpochResult, FitResult, StepProgress, Validation, fit
from fastprop.training.job import TrainingJob, run_job
from fastprop.training.metric import multi_label_log_loss
from fastprop.training.network import build_symbol, separate_parameters
from fastprop.training.process import run_job_in_process
from fastprop.training.settings import FitSettings, NetworkSettings
from fastprop.training.warm_start import FeatureRoles, warm_start

__all__ = [
    "EpochResult",
    "Evaluation",
    "FeatureRoles",
    "FitResult",
    "FitSettings",
    "MemorySource",
    "NetworkSettings",
    "ParquetSource",
    "RowSource",
    "StepProgress",
    "TrainingJob",
    "Validation",
    "build_symbol",
    "evaluate",
    "fit",
    "multi_label_log_loss",
    "run_job",
    "run_job_in_process",
    "separate_parameters",
    "sparse_iterator",
    "warm_start",
]
