"""codecs: how float32 elements travel. What `register` and `all_reduce` take as `codec`.

A codec is what a site sends (`up`) and what the owner of a sum sends back (`down`), names of the
native table. Strings are short for the objects: "int4" is Int4(), "topk-32-int8" TopK(32, "int8").
The formats are in kernels/codecs/*/format.md.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from isthmus import _core
from isthmus.errors import Refused

Rounding = Literal["nearest", "stochastic"]


@dataclass(frozen=True)
class Codec:
    """What all have in common; make one of the classes below."""

    up: str
    down: str  # unused where the schedule is `gather`, which has no way down
    rounding: Rounding = "nearest"

    def __post_init__(self) -> None:
        row = table_row(self.up)
        if not table_row(self.down)["recodable"]:
            raise Refused(
                f"sums cannot come back as {self.down!r}, which is too coarse: use int8 or bf16"
            )
        if self.rounding not in ("nearest", "stochastic"):
            raise Refused(f'rounding is {self.rounding!r}; expected "nearest" or "stochastic"')
        if self.stochastic and not row["dithers"]:
            raise Refused(f"{self.up} offers no stochastic rounding: only int8 and int4 do")

    @property
    def stochastic(self) -> bool:
        return self.rounding == "stochastic"

    @property
    def takes_feedback(self) -> bool:
        """Whether error feedback converges with it, and is of use."""
        return bool(table_row(self.up)["feedback"]) and not self.stochastic

    def __str__(self) -> str:
        """Short, and the same for equal codecs."""
        usual = self.down == _down_of(self.up)
        ways = self.up if usual else f"{self.up} up, {self.down} down"
        return f"{ways}, stochastic" if self.stochastic else ways


class F32(Codec):
    """As it is: 32 bits an element."""

    def __init__(self) -> None:
        super().__init__("f32", "f32")


class Bf16(Codec):
    """The upper half of a float32, rounded to nearest even: 16 bits."""

    def __init__(self) -> None:
        super().__init__("bf16", "bf16")


class Int8(Codec):
    """Integers of one scale for every 128 elements: 8.125 bits.

    rounding: "stochastic" has no bias, and takes no error feedback. down: of sums coming back.
    """

    def __init__(self, *, rounding: Rounding = "nearest", down: str = "int8") -> None:
        super().__init__("int8", down, rounding)


class Int4(Codec):
    """Integers of one scale for every 128 elements: 4.125 bits. The one to begin with.

    rounding: "stochastic" has no bias, and takes no error feedback. down: of sums coming back.
    """

    def __init__(self, *, rounding: Rounding = "nearest", down: str = "int8") -> None:
        super().__init__("int4", down, rounding)


class Int2(Codec):
    """Four levels about the root mean square of 128 elements (Lloyd-Max): 2.125 bits."""

    def __init__(self, *, down: str = "int8") -> None:
        super().__init__("int2", down)


class Sign(Codec):
    """Signs, and the mean magnitude of 128 elements: 1.125 bits."""

    def __init__(self, *, down: str = "int8") -> None:
        super().__init__("sign", down)


class TopK(Codec):
    """The k largest magnitudes of every 4096 elements; 64 in two bits each are .223 bits.

    k: 16, 32, 64 or 128. values: "int2" or "int8". For pseudo-gradients rather than gradients.
    """

    def __init__(self, k: int = 64, values: str = "int2", *, down: str = "int8") -> None:
        name = "topk" if (k, values) == (64, "int2") else f"topk-{k}-{values}"
        super().__init__(name, down)


@dataclass(frozen=True)
class Feedback:
    """Error feedback: what a codec rounds away is kept and added the next time.

    dtype: of the residual in memory, "float32" or "bfloat16". beta: how much of it is added; 1 for
    gradients of every step, .95 for pseudo-gradients with top-k.
    """

    dtype: Literal["float32", "bfloat16"] = "float32"
    beta: float = 1.0

    def __post_init__(self) -> None:
        if self.dtype not in ("float32", "bfloat16"):
            raise Refused(f'dtype is {self.dtype!r}; expected "float32" or "bfloat16"')
        if not 0 < self.beta <= 1:
            raise Refused(f"beta is {self.beta!r}; expected a number above 0, up to 1")


def parse(codec: str | Codec) -> Codec:
    """The codec that a string is short for. Refused: there is none, and which there are."""
    if isinstance(codec, Codec):
        return codec
    if not isinstance(codec, str):
        raise Refused(f"a codec is a name or a Codec, not {type(codec).__name__}")
    table_row(codec)
    if codec in _classes:
        made: Codec = _classes[codec]()
        return made
    _, k, values = codec.split("-")  # a variant of topk
    return TopK(int(k), values)


_classes: dict[str, type[Any]] = {
    "f32": F32,
    "bf16": Bf16,
    "int8": Int8,
    "int4": Int4,
    "int2": Int2,
    "sign": Sign,
    "topk": TopK,
}


@cache
def _table() -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in _core.codec_table()}


def table_row(name: str) -> dict[str, Any]:
    """What the native table says of a codec. Refused: there is none of that name."""
    if name not in _table():
        raise Refused(f"codec is {name!r}; expected one of {', '.join(_table())}")
    return _table()[name]


def _down_of(up: str) -> str:
    return up if up in ("f32", "bf16") else "int8"
