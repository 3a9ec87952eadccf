"""A state as bytes and back: the same values, and nothing that runs."""

import random
from collections import Counter, OrderedDict
from typing import Any

import numpy as np
import pytest
import torch
from isthmus import Refused, WireError
from isthmus.rejoin.encoding import decode, encode


def there_and_back(value: Any) -> Any:
    encoded = encode(value)
    return decode(encoded.whole(), len(encoded.text))


def test_what_a_state_dict_may_hold_comes_back_as_it_was() -> None:
    value = {
        0: [1, -(2**70), 0.1, float("inf"), None, True, "ü"],
        "t": (1, (2, [3]), b"\0\xff"),
        "c": Counter({5: 2}),
        "o": OrderedDict([("b", 1), ("a", 2)]),
        ("a", 1): {},
        "random": random.getstate(),
    }
    back = there_and_back(value)
    assert back == value
    assert [type(back[key]) for key in ("t", "c", "o")] == [tuple, Counter, OrderedDict]


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.bfloat16, torch.float64, torch.int64, torch.uint8, torch.bool]
)
def test_tensors_of_any_shape_come_back_to_the_bit(dtype: torch.dtype) -> None:
    tensors = [torch.randn(shape).to(dtype) for shape in [(), (0,), (3,), (5, 7), (2, 0, 3)]]
    tensors.append(torch.randn(4, 6).to(dtype).t())  # not contiguous
    for tensor, back in zip(tensors, there_and_back(tensors), strict=True):
        assert back.dtype == dtype and back.shape == tensor.shape
        assert torch.equal(back, tensor)


def test_arrays_come_back() -> None:
    state = np.random.default_rng(1).integers(0, 2**31, (624,), np.int64)
    assert np.array_equal(there_and_back({"key": state})["key"], state)


def test_what_cannot_be_handed_over_is_named() -> None:
    with pytest.raises(Refused, match=r"state\.a\[1\] is a object"):
        encode({"a": [1, object()]})


@pytest.mark.parametrize(
    "text",
    [
        b"{",
        b'{"tensor": [0, "load", [1]]}',
        b'{"tensor": [0, "float32", [1000]]}',
        b'{"tensor": [-4, "float32", [1]]}',
        b'{"tensor": [0, "float32", [-1]]}',
        b'{"module": "os"}',
        b'{"dict": [[1]]}',
        b'{"dict": 1, "tuple": 2}',
        b"\xff",
    ],
)
def test_bytes_that_make_no_sense_are_a_wire_error(text: bytes) -> None:
    whole = torch.frombuffer(bytearray(text.ljust(128)), dtype=torch.uint8)
    with pytest.raises(WireError):
        decode(whole, 64)
