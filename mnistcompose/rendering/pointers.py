# mypy: ignore-errors
"""Bare pointers in compiled functions.

A slice of a numba array counts references, with atomic instructions, and normalises its bounds: with slices, the kernel
was 1.4 times as slow, and took 1.7 times as long to compile. A pointer checks nothing, and does not keep its array
alive: the array must be used again later, as in the next turn of a loop.
"""

from llvmlite import ir
from numba import types
from numba.extending import intrinsic


@intrinsic
def at(_, start, index):  # noqa: ARG001
    """Pointer to an element of a C-contiguous array, or to one behind a pointer."""
    if isinstance(start, types.Array) and start.layout != "C":
        return None

    def generate(context, builder, signature, arguments):
        (kind, _), (data, offset) = signature.args, arguments
        if isinstance(kind, types.Array):
            data = context.make_array(kind)(context, builder, data).data
        return builder.gep(data, [offset])

    return types.CPointer(start.dtype)(start, types.int64), generate


@intrinsic
def cast(_, pointer, dtype):
    """The same pointer, to values of another type."""

    def generate(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], context.get_value_type(signature.return_type))

    return types.CPointer(dtype.instance_type)(pointer, dtype), generate


@intrinsic
def prefetch(_, pointer):
    """Prefetch the cache line of a pointer, without waiting for it."""

    def generate(context, builder, _, arguments):
        address = builder.bitcast(arguments[0], ir.IntType(8).as_pointer())
        word = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [address.type, word, word, word])
        function = builder.module.declare_intrinsic("llvm.prefetch", [address.type], kind)
        builder.call(function, [address, word(0), word(3), word(1)])  # for reading; keep in all caches; data cache
        return context.get_dummy_value()

    return types.void(pointer), generate
