"""The references: every codec in NumPy, written to be read.

A codec's folder says what becomes of whole blocks (Blocks); Reference makes wires of them: the
last block filled up with zeros, sections that begin at multiples of 16 bytes, and error feedback.
All arrays are flat unless a shape is given; wires are uint8.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]
Counts = NDArray[np.int64]

SECTION_ALIGNMENT = 16


@dataclass(frozen=True)
class Dither:
    """Stochastic rounding's place in the stream of random numbers (kernels/rng)."""

    key: int  # 64 bits
    step: int = 0
    bucket: int = 0
    stream: int = 0
    group: int = 0  # of the first element's call; one call serves 8 elements


class Blocks(Protocol):
    """What a codec's folder writes. Arrays have one row a block."""

    @property
    def block(self) -> int: ...
    @property
    def section_bytes(self) -> tuple[int, ...]: ...

    def encode(self, p: Floats, filled: Counts, units: Floats | None) -> list[Bytes]:
        """The sections of the blocks `p` (rows, block), each (rows, its bytes).

        filled: how many elements of each row count for its scale. units: for stochastic rounding,
        a number in [0, 1) for each element; None: to nearest.
        """

    def valid(self, sections: list[Bytes], filled: Counts) -> bool: ...
    def decode(self, sections: list[Bytes]) -> Floats: ...


@runtime_checkable
class SparseBlocks(Protocol):
    """Of a codec whose decode_add leaves elements alone that are not in the wire."""

    def kept(self, sections: list[Bytes]) -> NDArray[np.bool_]: ...


@dataclass(frozen=True)
class Reference:
    """One codec of the table."""

    blocks: Blocks
    feeds: bool = False  # error feedback converges
    dithers: bool = False  # stochastic rounding is offered

    @property
    def block(self) -> int:
        return self.blocks.block

    @property
    def granule(self) -> int:
        """A range begins at multiples of this many elements."""
        blocks = 1
        for size in self.blocks.section_bytes[:-1]:
            while blocks * size % SECTION_ALIGNMENT:
                blocks *= 2
        return blocks * self.block

    def wire_size(self, elements: int) -> int:
        offset, size = self._sections(elements)[-1]
        return offset + size

    def pieces(self, elements: int, begin: int, count: int) -> list[tuple[int, int]]:
        """(offset, bytes) in each section of elements [begin, begin + count)."""
        whole, own = self._sections(elements), self._sections(count)
        first = begin // self.block
        return [
            (offset + first * size, bytes_)
            for (offset, _), (_, bytes_), size in zip(
                whole, own, self.blocks.section_bytes, strict=True
            )
        ]

    def encode(self, x: Floats, *, dither: Dither | None = None) -> Bytes:
        """The wire of the elements `x`."""
        units = None
        rows = self._rows(x)
        if dither is not None:
            from isthmus.kernels.rng.reference import units as draw

            units = self._rows(draw(dither, x.size))
        with np.errstate(invalid="ignore", over="ignore"):
            made = self.blocks.encode(rows, self._filled(x.size), units)
        wire = np.zeros(self.wire_size(x.size), np.uint8)
        for (offset, _), section in zip(self._sections(x.size), made, strict=True):
            wire[offset : offset + section.size] = section.reshape(-1)
        return wire

    def encode_with_feedback(
        self,
        x: Floats,
        residual: Floats | NDArray[np.uint16],
        *,
        beta: float = 1.0,
        dither: Dither | None = None,
    ) -> tuple[Bytes, Floats | NDArray[np.uint16]]:
        """The wire of p = x + beta * residual, and the next residual: p - decoded.

        A residual is float32, or bfloat16 as uint16; the next one is of the same kind.
        """
        with np.errstate(invalid="ignore", over="ignore"):
            p = x + np.float32(beta) * from_residual(residual)
            wire = self.encode(p, dither=dither)
            left = p - self.decode(wire, x.size)
        return wire, to_residual(left, like=residual)

    def valid(self, wire: Bytes, elements: int) -> bool:
        """Whether decode takes the wire. ValueError: another size."""
        self._check_size(wire, elements)
        return self._zeros_between(wire, elements) and self.blocks.valid(
            self._read(wire, elements), self._filled(elements)
        )

    def decode(self, wire: Bytes, elements: int) -> Floats:
        """The elements. ValueError: a wire of another size, or malformed."""
        if not self.valid(wire, elements):
            raise ValueError("malformed wire")
        with np.errstate(invalid="ignore", over="ignore"):
            rows = self.blocks.decode(self._read(wire, elements))
        return np.ascontiguousarray(rows.reshape(-1)[:elements])

    def decode_add(self, wire: Bytes, weight: float, total: Floats) -> None:
        """total += weight * decoded in place, each product and sum rounded to float32."""
        decoded = self.decode(wire, total.size)
        with np.errstate(invalid="ignore", over="ignore"):
            sums = total + np.float32(weight) * decoded
        if isinstance(self.blocks, SparseBlocks):
            kept = self.blocks.kept(self._read(wire, total.size)).reshape(-1)[: total.size]
            sums = np.where(kept, sums, total)
        total[:] = sums

    def _blocks(self, elements: int) -> int:
        return -(-elements // self.block)

    def _filled(self, elements: int) -> Counts:
        filled = np.full(self._blocks(elements), self.block, np.int64)
        if elements % self.block:
            filled[-1] = elements % self.block
        return filled

    def _rows(self, x: Floats) -> Floats:
        whole = np.zeros(self._blocks(x.size) * self.block, np.float32)
        whole[: x.size] = x
        return whole.reshape(-1, self.block)

    def _sections(self, elements: int) -> list[tuple[int, int]]:
        """(offset, bytes) of each section, the zeros after it included."""
        found, offset = [], 0
        sizes = self.blocks.section_bytes
        for i, each in enumerate(sizes):
            size = self._blocks(elements) * each
            if i + 1 < len(sizes):
                size = -(-size // SECTION_ALIGNMENT) * SECTION_ALIGNMENT
            found.append((offset, size))
            offset += size
        return found

    def _read(self, wire: Bytes, elements: int) -> list[Bytes]:
        rows = self._blocks(elements)
        return [
            wire[offset : offset + rows * each].reshape(rows, each)
            for (offset, _), each in zip(
                self._sections(elements), self.blocks.section_bytes, strict=True
            )
        ]

    def _zeros_between(self, wire: Bytes, elements: int) -> bool:
        rows = self._blocks(elements)
        return not any(
            wire[offset + rows * each : offset + size].any()
            for (offset, size), each in zip(
                self._sections(elements), self.blocks.section_bytes, strict=True
            )
        )

    def _check_size(self, wire: Bytes, elements: int) -> None:
        if wire.size != self.wire_size(elements):
            raise ValueError(f"a wire of {elements} elements has {self.wire_size(elements)} bytes")


def bf16_bits(x: Floats) -> NDArray[np.uint16]:
    """The upper half of each float32, rounded to nearest, ties to even; NaNs stay NaNs."""
    words = x.view(np.uint32)
    upper = words >> 16
    rounded = (words + 0x7FFF + (upper & 1)) >> 16  # wraps for some NaNs, which are replaced next
    return np.where(np.isnan(x), upper | 0x40, rounded).astype(np.uint16)


def bf16_values(bits: NDArray[np.uint16]) -> Floats:
    return (bits.astype(np.uint32) << 16).view(np.float32)


def from_residual(residual: Floats | NDArray[np.uint16]) -> Floats:
    if residual.dtype == np.uint16:
        return bf16_values(residual.astype(np.uint16))
    return residual.astype(np.float32, copy=False)


def to_residual(left: Floats, *, like: Floats | NDArray[np.uint16]) -> Floats | NDArray[np.uint16]:
    return bf16_bits(left) if like.dtype == np.uint16 else left
