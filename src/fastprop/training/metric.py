"""Log-loss over many labels as an MXNet metric."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastprop.training._mxnet import import_mxnet

__all__ = ["multi_label_log_loss"]

_SMALLEST = 1e-12


def multi_label_log_loss(*, every: int = 1) -> Any:
    """Return an `mxnet.metric.EvalMetric` of the mean cross entropy of a label, in nats.

    Parameters
    ----------
    every : int
        Look at every so-manieth batch only: the metric has to read all outputs, which with
        thousands of labels takes a noticeable part of a training step.

    Returns
    -------
    mxnet.metric.EvalMetric
        Named `log_loss`. Takes one output of shape (batch, labels, classes) or one of shape
        (batch, classes) a label, and labels of the same shapes. Not to be shared between threads.
    """
    mx = import_mxnet()

    class MultiLabelLogLoss(mx.metric.EvalMetric):  # type: ignore[misc, name-defined]
        """Mean cross entropy of a label."""

        def __init__(self) -> None:
            super().__init__("log_loss")
            self._batches = 0

        def update(self, labels: Any, preds: Any) -> None:
            """Add a batch."""
            self._batches += 1
            if (self._batches - 1) % every:
                return
            for label, pred in zip(labels, preds):
                target, output = label.asnumpy(), pred.asnumpy()
                loss = -(target * np.log(np.maximum(output, _SMALLEST))).sum(dtype=np.float64)
                self.sum_metric += float(loss)
                self.num_inst += target.size // target.shape[-1]

    return MultiLabelLogLoss()
