"""Users' own post-processing, compiled to native code that the workers call on each tile.

The core calls a C function

    int32_t f(float *scores, int64_t n_rows, int64_t n_labels, int64_t scores_stride,
              void *out, int64_t out_stride, void *data);

whose strides are in elements and which answers 0 for success. `native_postprocess` makes one of a
Python function with numba; `NativePostprocess.from_address` takes one that exists already.
"""

from __future__ import annotations

import importlib
from typing import Any, Callable, overload

import numpy as np
import numpy.typing as npt

from fastprop.checks import flag, shown, whole_number
from fastprop.errors import DTypeError, FastpropError, InvalidInputError
from fastprop.fork_safe_lock import ForkSafeLock

__all__ = ["NativePostprocess", "native_postprocess"]

DTYPES = ("float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32")
MAX_WIDTH = (1 << 31) - 1
MAX_ADDRESS = (1 << 64) - 1
RAISED = 1


class NativePostprocess:
    """A function that the workers call on the scores of each tile; see `native_postprocess`.

    Immutable and safe to share between threads and predictors. Calling it runs the Python function
    itself, for trying it out.

    Attributes
    ----------
    name : str
        The function's name.
    width : int or None
        Columns of its result; None where it changes the scores in place.
    dtype : numpy.dtype
        Type of its result.
    """

    def __init__(
        self,
        function: Callable[..., None] | None,
        *,
        name: str,
        width: int | None,
        dtype: npt.DTypeLike,
        boundscheck: bool = False,
        address: int = 0,
        data: int = 0,
        owner: object = None,
    ) -> None:
        if not isinstance(name, str):
            raise DTypeError(f"name is {shown(name)}, and a str is needed")
        self.name = name
        self.width = None if width is None else whole_number("width", width, MAX_WIDTH)
        try:
            self.dtype: np.dtype[Any] = np.dtype(dtype)
        except Exception:  # whichever NumPy lets through of what it cannot take
            raise DTypeError(
                f"dtype is {shown(dtype)}, and one of {', '.join(DTYPES)} is needed"
            ) from None
        if self.dtype.name not in DTYPES:
            raise DTypeError(f"dtype is {self.dtype}, and one of {', '.join(DTYPES)} is needed")
        if width is None and self.dtype != np.float32:
            raise DTypeError("without a width the scores are changed in place, and are float32")
        if not callable(function) and not (function is None and address):
            raise DTypeError(f"native_postprocess is for a function, not for {shown(function)}")
        self._function = function
        self._boundscheck = flag("boundscheck", boundscheck)
        self._address = whole_number("address", address, MAX_ADDRESS, least=0)
        self._data = whole_number("data", data, MAX_ADDRESS, least=0)
        self._owner = owner
        self._lock = ForkSafeLock()

    @classmethod
    def from_address(
        cls,
        address: int,
        *,
        width: int | None = None,
        dtype: npt.DTypeLike = "float32",
        data: int = 0,
        owner: object = None,
        name: str = "function",
    ) -> NativePostprocess:
        """Take a C function by its address, such as one of ctypes, cffi or `numba.cfunc`.

        Parameters
        ----------
        address : int
            Of a function with the signature that the module names. It must be safe to call from
            several threads at once, and must not touch Python.
        width, dtype
            As for `native_postprocess`.
        data : int
            An address that it is handed, or 0.
        owner : object
            Kept alive as long as the function may be called.
        name : str
            For messages.
        """
        try:
            address = whole_number("address", address, MAX_ADDRESS)
        except InvalidInputError:
            raise DTypeError(
                f"address is {shown(address)}, and the address of a function is needed"
            ) from None
        return cls(
            None, name=name, width=width, dtype=dtype, address=address, data=data, owner=owner
        )

    @property
    def data(self) -> int:
        """The address that the function is handed."""
        return self._data

    def address(self) -> int:
        """Address of the compiled function; compiles at the first call, which takes seconds.

        Raises
        ------
        FastpropError
            numba is missing, or cannot compile the function; carries its message.
        """
        with self._lock:
            if not self._address:
                assert self._function is not None
                compiled = compile_function(
                    self._function, self.name, self.width, self.dtype, self._boundscheck
                )
                self._owner = compiled
                self._address = int(compiled.address)
            return self._address

    def __call__(self, scores: npt.NDArray[np.float32], *out: Any) -> None:
        """Run the Python function, uncompiled."""
        if self._function is None:
            raise InvalidInputError(f"{self.name} is known by its address only")
        self._function(scores, *out)

    def __repr__(self) -> str:
        what = "in place" if self.width is None else f"{self.width} columns of {self.dtype}"
        return f"<NativePostprocess {self.name}: {what}>"


Decorator = Callable[[Callable[..., None]], NativePostprocess]


@overload
def native_postprocess(function: Callable[..., None]) -> NativePostprocess: ...


@overload
def native_postprocess(
    *, width: int | None = ..., dtype: npt.DTypeLike = ..., boundscheck: bool = ...
) -> Decorator: ...


def native_postprocess(
    function: Callable[..., None] | None = None,
    *,
    width: int | None = None,
    dtype: npt.DTypeLike = "float32",
    boundscheck: bool = False,
) -> NativePostprocess | Decorator:
    """Make a post-processing function that the workers run natively, without the GIL.

    The function is given the scores of a tile and its result goes to the caller in place of them:

    - `f(scores, out)` with a `width`: reads `scores`, float32 of shape (rows, n_labels), and fills
      `out`, of shape (rows, width) and the `dtype`. Every element of `out` must be written; the
      scores may be changed too, nobody reads them afterwards.
    - `f(scores)` without one: changes the scores in place.

    Parameters
    ----------
    function : callable
        In the part of Python and NumPy that numba compiles. A tile's rows are any number from 1
        to the batch size, so rows must not depend on each other. Arrays and numbers that it uses
        from outside are constants, of the values that they had when it was compiled.
    width : int, optional
        Columns of the result; without it the scores are changed in place.
    dtype : dtype
        Type of the result.
    boundscheck : bool
        Check every index, at some cost. Without it an index out of bounds reads or destroys
        memory, as numba's functions do.

    Returns
    -------
    NativePostprocess
        For `Model.predictor(postprocess=...)`.

    Raises
    ------
    FastpropError
        When a predictor is made with it: numba is missing (pip install "fastprop[numba]"), or
        cannot compile the function.

    Notes
    -----
    An exception ends the call with an `InvalidInputError` that names the tile's rows; which
    exception it was shows by calling the function itself, in Python, with their scores.

    Examples
    --------
    >>> margins = np.linspace(1.0, 2.0, model.n_labels).astype(np.float32)
    >>> @fastprop.native_postprocess(width=2)
    ... def revenue(scores, out):
    ...     for i in range(scores.shape[0]):
    ...         best = np.argmax(scores[i] * margins)
    ...         out[i, 0] = best
    ...         out[i, 1] = scores[i, best] * margins[best]
    >>> with model.predictor(postprocess=revenue) as predictor:
    ...     predictor.predict(rows)  # float32 (n_rows, 2)
    """

    def make(given: Callable[..., None]) -> NativePostprocess:
        return NativePostprocess(
            given,
            name=getattr(given, "__name__", "function"),
            width=width,
            dtype=dtype,
            boundscheck=boundscheck,
        )

    return make if function is None else make(function)


def compile_function(
    function: Callable[..., None],
    name: str,
    width: int | None,
    dtype: np.dtype[Any],
    boundscheck: bool,
) -> Any:
    """Compile a function to what the core calls; a `numba.cfunc`, which owns the code."""
    try:
        numba: Any = importlib.import_module("numba")
    except ImportError as error:
        raise FastpropError(
            f"native_postprocess compiles {name} with numba, which is not installed: "
            'pip install "fastprop[numba]"'
        ) from error
    types = numba.types
    element = numba.from_dtype(dtype)
    long, floats = types.int64, types.CPointer(types.float32)
    signature = types.int32(floats, long, long, long, types.CPointer(element), long, types.voidptr)
    wrap = in_place_wrapper if width is None else result_wrapper
    try:
        kernel = numba.njit(function, boundscheck=boundscheck)
        return numba.cfunc(signature)(wrap(numba, kernel, width))
    except (numba.core.errors.NumbaError, TypeError) as error:  # the latter of what it decorates
        raise FastpropError(
            f"native_postprocess: numba cannot compile {name}: {' '.join(str(error).split())}"
        ) from error


# An exception must not leave a C function: it is caught in what numba compiles, and told by the
# status. Arrays without gaps between their rows have a type of their own, and faster code.


def in_place_wrapper(numba: Any, kernel: Any, _width: int | None) -> Any:
    carray = numba.carray

    @numba.njit
    def run(scores, n_rows, n_labels, stride):  # type: ignore[no-untyped-def]
        try:
            if stride == n_labels:
                kernel(carray(scores, (n_rows, n_labels)))
            else:
                kernel(carray(scores, (n_rows, stride))[:, :n_labels])
        except Exception:
            return RAISED
        return 0

    def wrapper(scores, n_rows, n_labels, stride, out, out_stride, data):  # type: ignore[no-untyped-def] # noqa: ARG001
        return run(scores, n_rows, n_labels, stride)

    return wrapper


def result_wrapper(numba: Any, kernel: Any, width: int | None) -> Any:
    carray = numba.carray

    @numba.njit
    def run(scores, n_rows, n_labels, out, out_stride):  # type: ignore[no-untyped-def]
        try:
            # What a result is made from is the core's own scratch, without gaps.
            rows = carray(scores, (n_rows, n_labels))
            if out_stride == width:
                kernel(rows, carray(out, (n_rows, width)))
            else:
                kernel(rows, carray(out, (n_rows, out_stride))[:, :width])
        except Exception:
            return RAISED
        return 0

    def wrapper(scores, n_rows, n_labels, stride, out, out_stride, data):  # type: ignore[no-untyped-def] # noqa: ARG001
        return run(scores, n_rows, n_labels, out, out_stride)

    return wrapper
