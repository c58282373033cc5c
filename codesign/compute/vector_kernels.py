"""What compiled loops need to keep vectors in registers, which numba's loops over arrays leave in memory.

An intrinsic is a function whose calls numba compiles into LLVM instructions written by hand. `Vectors` writes those
that work on several neighbouring array items at once. LLVM maps them to whatever vector registers there are, and adds
and multiplies in the order written, unless an instruction allows it to fuse.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

ir: Any = cgutils.ir  # type: ignore[attr-defined]  # numba's LLVM layer, llvmlite
_INT32, _INT64 = ir.IntType(32), ir.IntType(64)
_BYTES = ir.IntType(8).as_pointer()
_PREFETCH = ir.FunctionType(ir.VoidType(), [_BYTES, _INT32, _INT32, _INT32])


class Vectors:
    """Writes vector instructions on `width` items of the type of the array that is argument 0."""

    def __init__(self, context: Any, builder: Any, signature: Any, arguments: Any, width: int) -> None:
        self.builder, self.arguments = builder, arguments
        self._context, self._signature = context, signature
        self.item = context.get_value_type(signature.args[0].dtype)
        self.type, self.width = ir.VectorType(self.item, width), width

    def pointer(self, array: int, offset: Any) -> Any:
        """Address of item `offset` of the flat array that is argument `array`."""
        layout = self._context.make_array(self._signature.args[array])
        data = layout(self._context, self.builder, self.arguments[array]).data
        return self.builder.gep(data, [offset])

    def load(self, pointer: Any, offset: int = 0) -> Any:
        """The vector that starts `offset` items after `pointer`, of the type it points to and aligned to items."""
        kind = ir.VectorType(pointer.type.pointee, self.width)
        return self.builder.load(self._at(pointer, offset, kind), align=_bytes(kind.element))

    def store(self, vector: Any, pointer: Any, offset: int = 0) -> None:
        """The inverse of `load`."""
        place = self._at(pointer, offset, vector.type)
        self.builder.store(vector, place, align=_bytes(vector.type.element))

    def gather(self, pointer: Any, offsets: Any) -> Any:
        """The items that lie `offsets`, a vector of integers, after `pointer`."""
        everywhere = self._repeated(pointer, ir.VectorType(pointer.type, self.width))
        places = self.builder.gep(everywhere, [offsets], source_etype=self.item)
        mask = ir.VectorType(ir.IntType(1), self.width)
        kind = ir.FunctionType(self.type, [places.type, _INT32, mask, self.type])
        name = f"llvm.masked.gather.v{self.width}i{_bytes(self.item) * 8}.v{self.width}p0"
        gather = cgutils.get_or_insert_function(self.builder.module, kind, name)  # type: ignore[no-untyped-call]
        return self.builder.call(
            gather, [places, _INT32(_bytes(self.item)), mask([1] * self.width), self.type(ir.Undefined)]
        )

    def _at(self, pointer: Any, offset: int, kind: Any) -> Any:
        return self.builder.bitcast(self.builder.gep(pointer, [_INT64(offset)]), kind.as_pointer())

    def constant(self, value: float) -> Any:
        """The same constant in all items."""
        return self.type([value] * self.width)

    def splat(self, value: Any) -> Any:
        """The same value in all items."""
        return self._repeated(value, self.type)

    def _repeated(self, value: Any, kind: Any) -> Any:
        first = self.builder.insert_element(kind(ir.Undefined), value, _INT32(0))
        everywhere = ir.VectorType(_INT32, self.width)([0] * self.width)
        return self.builder.shuffle_vector(first, kind(ir.Undefined), everywhere)

    def variable(self, value: Any) -> Any:
        """A vector that loops may change; it stays in a register."""
        return cgutils.alloca_once_value(self.builder, value)  # type: ignore[no-untyped-call]

    @contextmanager
    def repeat(self, count: Any, step: int = 1) -> Iterator[Any]:
        """A loop from 0 to below `count`; gives its counter."""
        with cgutils.for_range_slice(self.builder, _INT64(0), count, _INT64(step)) as (index, _):
            yield index


def _bytes(item: Any) -> int:
    return 4 if isinstance(item, ir.FloatType) else int(item.width) // 8


def _prefetcher(write: int) -> Any:
    """An intrinsic that has the cache line of an item of an array fetched. The place need not exist."""

    def emit_prefetch(_, memory, place):  # type: ignore[no-untyped-def]
        def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            item = Vectors(context, builder, signature, arguments, 1).pointer(0, arguments[1])
            prefetch = builder.module.declare_intrinsic("llvm.prefetch", [_BYTES], _PREFETCH)
            nearest_cache, data = 3, 1
            builder.call(
                prefetch, [builder.bitcast(item, _BYTES), *map(_INT32, (write, nearest_cache, data))]
            )
            return context.get_dummy_value()

        return types.void(memory, types.intp), emit

    return intrinsic(emit_prefetch)


prefetch_read: Any = _prefetcher(0)
prefetch_write: Any = _prefetcher(1)
