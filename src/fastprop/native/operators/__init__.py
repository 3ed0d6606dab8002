"""How each operator becomes steps: one table a kind of operator."""

from __future__ import annotations

from collections.abc import Mapping

from fastprop.native.lowering import Lower
from fastprop.native.operators import (
    activations,
    elementwise,
    embeddings,
    heads,
    layers,
    normalizations,
    reductions,
    shapes,
)

__all__ = ["LOWERINGS"]

LOWERINGS: Mapping[str, Lower] = {
    **layers.LOWERINGS,
    **activations.LOWERINGS,
    **elementwise.LOWERINGS,
    **normalizations.LOWERINGS,
    **reductions.LOWERINGS,
    **embeddings.LOWERINGS,
    **heads.LOWERINGS,
    **shapes.LOWERINGS,
}
