# distutils: language = c
"""Python sequences of sparse rows to CSR: count, prefix-sum, fill.

Each row is looked at once under the GIL, its buffers are borrowed, and every element is checked and
written once, straight into memory that the caller leased. Nothing here allocates arrays.
"""

from cpython.buffer cimport (
    PyBUF_FORMAT, PyBUF_STRIDES, PyBuffer_Release, PyObject_CheckBuffer, PyObject_GetBuffer,
)
from libc.float cimport FLT_MAX
from libc.stdint cimport int32_t, int64_t
from libc.stdlib cimport calloc, free

import numpy as np

from fastprop.checks import shown
from fastprop.errors import DTypeError, InvalidInputError, ShapeError

cdef enum RowKind:
    VECTOR   # .size .indices .values
    PAIR     # (indices, values)
    MAPPING  # {index: value}

cdef enum ElementKind:
    INT32
    INT64
    FLOAT32
    FLOAT64

cdef struct RowBuffers:
    bint held
    Py_buffer indices
    Py_buffer values
    ElementKind index_kind
    ElementKind value_kind

ctypedef fused index_t:
    int32_t
    int64_t

ctypedef fused value_t:
    float
    double


cdef int64_t copy_indices(
    const char *source, Py_ssize_t stride, index_t *tag, int64_t n, int64_t n_features, int64_t *target
) noexcept nogil:
    """Copy `n` indices and return the position of the first out of range, or -1."""
    cdef int64_t i, index
    cdef bint bad = False
    cdef const index_t *packed = <const index_t *> source
    if stride == <Py_ssize_t> sizeof(index_t):
        for i in range(n):
            index = packed[i]
            bad |= (index < 0) | (index >= n_features)
            target[i] = index
    else:
        for i in range(n):
            index = (<const index_t *> (source + i * stride))[0]
            bad |= (index < 0) | (index >= n_features)
            target[i] = index
    if bad:
        for i in range(n):
            if target[i] < 0 or target[i] >= n_features:
                return i
    return -1


cdef int64_t copy_values(
    const char *source, Py_ssize_t stride, value_t *tag, int64_t n, bint finite, float *target
) noexcept nogil:
    """Copy `n` values as float32 and return the position of the first that is not finite, or -1."""
    cdef int64_t i
    cdef float value
    cdef bint good = True
    cdef const value_t *packed = <const value_t *> source
    if stride == <Py_ssize_t> sizeof(value_t):
        for i in range(n):
            value = <float> packed[i]
            good &= (value <= FLT_MAX) & (value >= -FLT_MAX)
            target[i] = value
    else:
        for i in range(n):
            value = <float> (<const value_t *> (source + i * stride))[0]
            good &= (value <= FLT_MAX) & (value >= -FLT_MAX)
            target[i] = value
    if finite and not good:
        for i in range(n):
            if not (-FLT_MAX <= target[i] <= FLT_MAX):
                return i
    return -1


cdef object index_error(object row, object position, object index, object n_features):
    return InvalidInputError(
        f"rows[{row}].indices[{position}] is {shown(index)}, but the model has {n_features} "
        "features"
    )


cdef object value_error(object row, object position, object value):
    return InvalidInputError(
        f"rows[{row}].values[{position}] is {value}, which is not a finite float32"
    )


cdef object matrix_error(object row, object number):
    """The error of one of SciPy's sparse matrices in a list."""
    return DTypeError(
        f"rows[{number}] is a {type(row).__name__}; give one csr matrix of all rows: "
        "scipy.sparse.vstack(rows, format='csr')"
    )


cdef object element_error(object array, bint integral, object row, str name):
    """The error of an array of Python objects: the first that no array of numbers can hold."""
    kind = "a whole number" if integral else "a real number"
    numbers = int if integral else (int, float, np.number)
    for position, item in enumerate(array.tolist()):
        place = f"rows[{row}].{name}[{position}]"
        if not isinstance(item, numbers):
            return DTypeError(f"{place} is {shown(item)}, and {kind} is needed")
        if isinstance(item, int) and not -(1 << 63) <= item < (1 << 64):
            what = "which no index can be" if integral else "an int beyond 64 bits: give a float"
            return InvalidInputError(f"{place} is {shown(item)}, {what}")
    return DTypeError(f"rows[{row}].{name} holds Python objects, and {kind} each is needed")


cdef int element_kind(Py_buffer *view) noexcept:
    """The kind of a native buffer's elements, or -1 where NumPy has to convert them."""
    cdef const char *code = view.format
    if code == NULL:
        return -1
    if code[0] == b"@" or code[0] == b"=" or code[0] == b"<":
        code += 1
    if code[0] == 0 or code[1] != 0:
        return -1
    if code[0] in (b"i", b"l", b"q"):
        if view.itemsize == 4:
            return INT32
        if view.itemsize == 8:
            return INT64
    if code[0] == b"f":
        return FLOAT32
    if code[0] == b"d":
        return FLOAT64
    return -1


cdef bint is_aligned(Py_buffer *view) noexcept:
    """Whether the processor may load each element of a vector at once; not so in parts of files."""
    return (<size_t> view.buf) % view.itemsize == 0 and view.strides[0] % view.itemsize == 0


cdef object as_array(object given, str wanted, object row, str name):
    """An array of the kind that the kernels read, for what is no native buffer of one."""
    try:
        array = np.asarray(given)
    except ValueError as error:  # such as lists of unequal lengths
        raise ShapeError(f"rows[{row}].{name} is no array: {error}") from None
    if array.size == 0 and array.ndim == 1:
        return array.astype(wanted)
    if array.ndim == 0:
        raise ShapeError(
            f"rows[{row}].{name} has 0 dimensions, and 1 is needed: {shown(given)} is no array "
            "(one row alone is a list of one: [(indices, values)])"
        )
    if array.ndim != 1:
        raise ShapeError(f"rows[{row}].{name} has {array.ndim} dimensions, and 1 is needed")
    if array.dtype.kind in ("iu" if wanted == "int64" else "fiub"):
        if array.dtype.kind == "u" and array.dtype.itemsize == 8 and wanted == "int64":
            if (array > np.iinfo(np.int64).max).any():
                position = int(np.argmax(array > np.iinfo(np.int64).max))
                raise InvalidInputError(
                    f"rows[{row}].{name}[{position}] is {array[position]}, which no index can be"
                )
        with np.errstate(over="ignore"):  # a long double that is infinite is refused by its place
            return array.astype(wanted)
    if array.dtype.kind == "O":
        raise element_error(array, wanted == "int64", row, name)
    kind = "integers" if wanted == "int64" else "real numbers"
    raise DTypeError(f"rows[{row}].{name} holds {array.dtype}, and {kind} are needed")


cdef int borrow(object given, Py_buffer *view, str wanted, object row, str name) except -1:
    """Borrow a row's array as a buffer; returns its element kind."""
    cdef int kind
    cdef bint integral = wanted == "int64"
    if PyObject_CheckBuffer(given):
        try:
            PyObject_GetBuffer(given, view, PyBUF_STRIDES | PyBUF_FORMAT)
        except (BufferError, ValueError):
            pass  # such as datetime64: NumPy's own message is worse than ours below
        else:
            kind = element_kind(view)
            if (
                view.ndim == 1 and kind >= 0 and (kind <= INT64) == integral
                and is_aligned(view)
            ):
                return kind
            PyBuffer_Release(view)
    array = as_array(given, wanted, row, name)
    PyObject_GetBuffer(array, view, PyBUF_STRIDES | PyBUF_FORMAT)
    return INT64 if integral else FLOAT64


cdef RowKind kind_of(object row, object number) except *:
    if isinstance(row, dict):
        return MAPPING
    if isinstance(row, (tuple, list)):
        if len(row) != 2:
            raise ShapeError(
                f"rows[{number}] has {len(row)} parts, and a pair (indices, values) is needed; one "
                "row alone is a list of one: [(indices, values)]"
            )
        return PAIR
    if hasattr(row, "indices") and hasattr(row, "values") and hasattr(row, "size"):
        return VECTOR
    if hasattr(row, "items") and hasattr(row, "__len__"):
        return MAPPING
    if hasattr(row, "tocsr"):
        raise matrix_error(row, number)
    alone = ""
    if isinstance(row, np.ndarray):
        alone = "; one row alone is a list of one: [(indices, values)]"
    raise DTypeError(
        f"rows[{number}] is a {type(row).__name__}, and a sparse vector, a pair (indices, values) "
        f"or a dict {{index: value}} is needed{alone}"
    )


cdef int fill_mapping(
    object row, object number, int64_t n_features, bint finite, int64_t n, int64_t *indices,
    float *values,
) except -1:
    cdef int64_t i = 0
    cdef int64_t index
    cdef float value
    for key, given in row.items():
        if i == n:
            raise InvalidInputError(f"rows[{number}] changed while it was read")
        try:
            index = key.__index__()
        except (AttributeError, TypeError):
            if hasattr(row, "tocsr"):  # a dok_matrix is a dict
                raise matrix_error(row, number) from None
            raise DTypeError(
                f"rows[{number}] has the key {shown(key)}, and integers are needed"
            ) from None
        except OverflowError:
            raise index_error(number, i, key, n_features) from None
        if index < 0 or index >= n_features:
            raise index_error(number, i, index, n_features)
        try:
            value = <float> (<double> float(given))
            if isinstance(given, (str, bytes)):  # which float() reads
                raise TypeError
        except (TypeError, ValueError):
            raise DTypeError(
                f"rows[{number}].values[{i}] is {shown(given)}, and a real number is needed"
            ) from None
        except OverflowError:
            raise value_error(number, i, shown(given)) from None
        if finite and not (-FLT_MAX <= value <= FLT_MAX):
            raise value_error(number, i, given)
        indices[i] = index
        values[i] = value
        i += 1
    if i != n:
        raise InvalidInputError(f"rows[{number}] changed while it was read")
    return 0


cdef class RowBlock:
    """Rows `start` to `stop` of a list, counted and ready to be written.

    Parameters
    ----------
    rows : list
        Sparse rows: objects with `.size .indices .values`, pairs or mappings, in any mix.
    start, stop : int
        The part of the list that this block is.
    n_features : int
        Columns that the model has.
    finite : bool
        Refuse values that are not finite as float32.
    first_row : int
        The caller's number of `rows[0]`, for messages.

    Notes
    -----
    Holds the rows' buffers until it is dropped. Not thread-safe.
    """

    cdef list rows
    cdef Py_ssize_t start
    cdef Py_ssize_t n_rows
    cdef int64_t n_features
    cdef bint finite
    cdef int64_t first_row
    cdef RowBuffers *buffers
    cdef object vector_type
    cdef readonly int64_t n_entries

    def __cinit__(
        self, list rows, Py_ssize_t start, Py_ssize_t stop, *, int64_t n_features, bint finite,
        int64_t first_row=0,
    ):
        if not 0 <= start <= stop <= len(rows):
            raise InvalidInputError(f"rows {start} to {stop} of {len(rows)} cannot be had")
        self.rows = rows[start:stop]
        self.start = start
        self.n_rows = stop - start
        self.n_features = n_features
        self.finite = finite
        self.first_row = first_row
        self.buffers = <RowBuffers *> calloc(max(self.n_rows, 1), sizeof(RowBuffers))
        if self.buffers == NULL:
            raise MemoryError
        cdef Py_ssize_t i
        self.n_entries = 0
        for i in range(self.n_rows):
            self.n_entries += self.count(i)

    def __dealloc__(self):
        cdef Py_ssize_t i
        if self.buffers == NULL:
            return
        for i in range(self.n_rows):
            if self.buffers[i].held:
                PyBuffer_Release(&self.buffers[i].indices)
                PyBuffer_Release(&self.buffers[i].values)
        free(self.buffers)

    cdef inline object number(self, Py_ssize_t i):
        return self.first_row + self.start + i

    cdef int64_t count(self, Py_ssize_t i) except -1:
        cdef object row = self.rows[i]
        cdef RowBuffers *held = &self.buffers[i]
        cdef RowKind kind
        # The same type row after row is the rule: it is asked once what it is.
        if type(row) is self.vector_type:
            kind = VECTOR
        else:
            kind = kind_of(row, self.number(i))
            if kind == VECTOR:
                self.vector_type = type(row)
        if kind == MAPPING:
            return len(row)
        if kind == VECTOR:
            size = row.size
            if size != self.n_features:
                raise ShapeError(
                    f"rows[{self.number(i)}].size is {size}, but the model has "
                    f"{self.n_features} features"
                )
            indices, values = row.indices, row.values
        else:
            indices, values = row
        held.index_kind = <ElementKind> borrow(
            indices, &held.indices, "int64", self.number(i), "indices"
        )
        try:
            held.value_kind = <ElementKind> borrow(
                values, &held.values, "float64", self.number(i), "values"
            )
        except BaseException:
            PyBuffer_Release(&held.indices)
            raise
        held.held = True
        if held.indices.shape[0] != held.values.shape[0]:
            raise ShapeError(
                f"rows[{self.number(i)}] has {held.indices.shape[0]} indices and "
                f"{held.values.shape[0]} values"
            )
        return held.indices.shape[0]

    def write(self, int64_t[::1] indptr, int64_t[::1] indices, float[::1] values):
        """Check every element and write the block as CSR.

        Parameters
        ----------
        indptr : int64 array, shape (n_rows + 1,)
        indices : int64 array, shape (n_entries,)
        values : float32 array, shape (n_entries,)

        Raises
        ------
        InvalidInputError
            An index is out of range or a value is not finite; what was written is void.
        """
        if (
            indptr.shape[0] != self.n_rows + 1
            or indices.shape[0] != self.n_entries
            or values.shape[0] != self.n_entries
        ):
            raise ShapeError("the arrays to write to have the wrong lengths")
        cdef int64_t *out_indices = NULL
        cdef float *out_values = NULL
        if self.n_entries:
            out_indices = &indices[0]
            out_values = &values[0]
        cdef int64_t n, position, at = 0
        cdef Py_ssize_t i
        cdef RowBuffers *held
        indptr[0] = 0
        for i in range(self.n_rows):
            held = &self.buffers[i]
            if held.held:
                n = held.indices.shape[0]
                position = self.write_indices(held, n, out_indices + at)
                if position >= 0:
                    raise index_error(
                        self.number(i), position, out_indices[at + position], self.n_features
                    )
                position = self.write_values(held, n, out_values + at)
                if position >= 0:
                    raise value_error(self.number(i), position, self.value_at(held, position))
            else:
                n = len(self.rows[i])
                if at + n > self.n_entries:
                    raise InvalidInputError(f"rows[{self.number(i)}] changed while it was read")
                fill_mapping(
                    self.rows[i], self.number(i), self.n_features, self.finite, n,
                    out_indices + at, out_values + at,
                )
            at += n
            indptr[i + 1] = at
        if at != self.n_entries:
            raise InvalidInputError("rows changed while they were read")

    cdef int64_t write_indices(self, RowBuffers *held, int64_t n, int64_t *target) noexcept:
        cdef const char *source = <const char *> held.indices.buf
        cdef Py_ssize_t stride = held.indices.strides[0]
        if held.index_kind == INT32:
            return copy_indices(source, stride, <int32_t *> NULL, n, self.n_features, target)
        return copy_indices(source, stride, <int64_t *> NULL, n, self.n_features, target)

    cdef int64_t write_values(self, RowBuffers *held, int64_t n, float *target) noexcept:
        cdef const char *source = <const char *> held.values.buf
        cdef Py_ssize_t stride = held.values.strides[0]
        if held.value_kind == FLOAT32:
            return copy_values(source, stride, <float *> NULL, n, self.finite, target)
        return copy_values(source, stride, <double *> NULL, n, self.finite, target)

    cdef object value_at(self, RowBuffers *held, int64_t position):
        cdef const char *source = <const char *> held.values.buf + position * held.values.strides[0]
        if held.value_kind == FLOAT32:
            return (<const float *> source)[0]
        return (<const double *> source)[0]
