"""All passes, in order."""

from __future__ import annotations

from fastprop.graph.network import Network
from fastprop.graph.passes.fold_batch_norm import fold_batch_norm
from fastprop.graph.passes.fuse_heads import fuse_heads
from fastprop.graph.passes.strip_training import strip_training

__all__ = ["optimize"]


def optimize(network: Network, positive_index: int | None = 0) -> Network:
    """Rewrite a checkpoint's network to the fastest that computes the same scores.

    Parameters
    ----------
    network : Network
        A checkpoint's network.
    positive_index : int or None
        Which class of a softmax over two is the score; None for both.

    Returns
    -------
    Network
        Either with one head of shape (batch, columns), holding the scores as `score_columns` orders
        them, or with heads of the same number, order and shapes as before.

    Raises
    ------
    InvalidInputError
        `positive_index` is not 0 or 1 where there are two classes.
    """
    network = fold_batch_norm(strip_training(network))
    return fuse_heads(network, positive_index=positive_index)
