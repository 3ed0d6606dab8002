"""The inference face of MXNet's Module API: change one import on a hot path.

    from mxnet.module import Module      →  from fastprop.compat import Module
    import mxnet as mx                   →  import fastprop.compat as mx

The second form serves scripts that load a checkpoint, build batches and read outputs through
`mx.mod.Module`, `mx.io.DataBatch`, `mx.io.NDArrayIter`, `mx.nd.array`, `mx.nd.sparse.csr_matrix`
and `mx.cpu`. Arrays made by MXNet itself are taken as well. There is nothing to train with here.
"""

from fastprop.compat import io, mod, nd
from fastprop.compat.context import Context, cpu
from fastprop.compat.mod import Module

__all__ = ["Context", "Module", "cpu", "io", "mod", "module", "nd"]

module = mod
