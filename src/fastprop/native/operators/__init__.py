"""How each operator becomes steps: one table a kind of operator."""

from __future__ import annotations

from collections.abc import Mapping

from fastprop.native.lowering import Lower
from fastprop.native.operators import activations, elementwise, heads, layers, shapes

__all__ = ["LOWERINGS"]

LOWERINGS: Mapping[str, Lower] = {
    **layers.LOWERINGS,
    **activations.LOWERINGS,
    **elementwise.LOWERINGS,
    **heads.LOWERINGS,
    **shapes.LOWERINGS,
}
