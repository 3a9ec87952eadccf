"""pieces: runs of a parameter's residual, and their names in a checkpoint."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from isthmus.errors import Refused
from isthmus.hook.layout import Layout

_of_a_part = re.compile(r"(.*)\[(\d+):(\d+)\]", re.DOTALL)


@dataclass(frozen=True)
class Piece:
    """begin: the first of its elements, counted in the parameter. values: flat."""

    begin: int
    values: torch.Tensor

    @property
    def end(self) -> int:
        return self.begin + self.values.numel()

    def part(self, begin: int, end: int) -> "Piece | None":
        """A view of what of it lies in [begin, end)."""
        first, last = max(begin, self.begin), min(end, self.end)
        if first >= last:
            return None
        return Piece(first, self.values[first - self.begin : last - self.begin])

    def copy(self) -> "Piece":
        return Piece(self.begin, self.values.clone())


def divide(piece: Piece, own: Piece | None) -> tuple[Piece | None, list[Piece]]:
    """What of a piece lies within `own`, and the rest."""
    inside = None if own is None else piece.part(own.begin, own.end)
    if inside is None:
        return None, [piece]
    ends = (piece.part(piece.begin, inside.begin), piece.part(inside.end, piece.end))
    return inside, [rest for rest in ends if rest is not None]


def save(layout: Layout, pieces: Mapping[int, Sequence[Piece]]) -> dict[str, torch.Tensor]:
    """By parameter name, in its shape; of less than all of it flat, as "name[begin:end]"."""
    saved = {}
    for i, of_one in pieces.items():
        name, parameter = layout.names[i], layout.parameters[i]
        for piece in of_one:
            values = piece.values.detach().to("cpu", copy=True)
            if values.numel() == parameter.numel():
                saved[name] = values.reshape(parameter.shape)
            else:
                saved[f"{name}[{piece.begin}:{piece.end}]"] = values
    return saved


def load(layout: Layout, state: Mapping[str, torch.Tensor]) -> dict[int, list[Piece]]:
    """What `save` saved. Refused: one that does not fit the model."""
    index = {name: i for i, name in enumerate(layout.names)}
    loaded: dict[int, list[Piece]] = {}
    for key, tensor in state.items():
        name, begin, shape = key, 0, None
        part = None if key in index else _of_a_part.fullmatch(key)
        if part is not None:
            name, begin, shape = part[1], int(part[2]), (int(part[3]) - int(part[2]),)
        if name not in index:
            raise Refused(f"the checkpoint has a residual of {name!r}, the model no parameter")
        parameter = layout.parameters[index[name]]
        if shape is None:
            shape = tuple(parameter.shape)
        if not isinstance(tensor, torch.Tensor) or tuple(tensor.shape) != shape:
            raise Refused(f"the checkpoint's residual of {key!r} is not of the shape {shape}")
        piece = Piece(begin, tensor.detach().reshape(-1).clone())
        if piece.end > parameter.numel():
            raise Refused(f"the checkpoint's residual of {key!r} ends behind the parameter's end")
        loaded.setdefault(index[name], []).append(piece)
    return loaded
