"""arrays: what users hand over, seen as NumPy arrays on the same memory.

Works without torch: a tensor can only come from someone who has imported it, so torch is looked up
among the loaded modules and never imported here.
"""

import importlib.util
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from isthmus.errors import Refused

if TYPE_CHECKING:
    from torch import Tensor as Tensor
else:
    Tensor = Any


def is_tensor(x: object) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(x, torch.Tensor)


def float32_view(x: Any, verb: str) -> NDArray[np.float32]:
    """The memory of a float32 array or CPU tensor, flat."""
    dtype = str(x.dtype).removeprefix("torch.") if hasattr(x, "dtype") else ""
    _check_kind(x, verb)
    if dtype not in ("float32", "<f4"):
        raise Refused(f"{verb} takes float32, not {dtype}: convert it first")
    return _plain_memory(x, verb).view(np.float32)


def byte_view(x: Any, verb: str) -> NDArray[np.uint8]:
    """The memory of an array or CPU tensor of any plain dtype, as bytes."""
    _check_kind(x, verb)
    if not is_tensor(x) and x.dtype.hasobject:
        raise Refused(f"{verb} takes numbers, not an array of Python objects")
    return _plain_memory(x, verb)


def _check_kind(x: Any, verb: str) -> None:
    if not is_tensor(x) and not isinstance(x, np.ndarray):
        raise Refused(f"{verb} takes a NumPy array or a CPU tensor, not {type(x).__name__}")


def _plain_memory(x: Any, verb: str) -> NDArray[np.uint8]:
    if not is_tensor(x):
        if not x.dtype.isnative:
            raise Refused(f"{verb} takes native byte order, not {x.dtype.str!r}")
        if not x.flags.c_contiguous:
            raise Refused(f"{verb} works in place and needs a C-contiguous array: x.copy() first")
        if not x.flags.writeable:
            raise Refused(f"{verb} works in place and the array is read-only: x.copy() first")
        _check_filled(x.size, verb)
        flat: NDArray[np.uint8] = x.reshape(-1).view(np.uint8)
        return flat
    torch = sys.modules["torch"]
    if x.layout != torch.strided:
        raise Refused(f"{verb} takes dense tensors, not {x.layout}: x.to_dense() first")
    if x.device.type != "cpu":
        raise Refused(f"{verb} takes CPU tensors, not one on {x.device}: x.cpu() first")
    if x.requires_grad and not x.is_leaf:
        raise Refused(f"{verb} would change a tensor that autograd still needs: x.detach() first")
    if not x.is_contiguous():
        raise Refused(f"{verb} works in place and needs a contiguous tensor: x.contiguous() first")
    if x.is_conj() or x.is_neg():
        raise Refused(f"{verb} takes plain memory: x.resolve_conj().resolve_neg() first")
    _check_filled(x.numel(), verb)
    memory: NDArray[np.uint8] = x.detach().view(-1).view(torch.uint8).numpy()
    return memory


def _check_filled(elements: int, verb: str) -> None:
    if elements == 0:
        raise Refused(f"{verb} of nothing: the array is empty")


Floats = NDArray[np.float32] | Tensor
"""Flat float32 values: an array in host memory, or a tensor on a device."""


@dataclass(frozen=True)
class Staged:
    """A gradient, its values as float32, and host memory for the mean that comes back.

    All three may be the same memory. host: None where the values stay on a device, and the mean is
    made there.
    """

    gradient: Tensor
    values: Floats
    host: NDArray[np.float32] | None


def stage(gradient: Tensor, *, on_device: bool) -> Staged:
    """A flat, dense floating-point gradient as float32, where it is to be encoded.

    on_device: where it is. Otherwise in host memory, and this waits for the current stream, so it
    belongs in a thread that may wait. The GPU branch has not been run on a device yet.
    """
    torch = sys.modules["torch"]
    flat = gradient.detach()
    if on_device:
        return Staged(flat, to_float32(flat), None)
    if flat.device.type == "cpu":
        values = flat.to(torch.float32).numpy()
        return Staged(flat, values, values)
    host = torch.empty(flat.numel(), dtype=torch.float32, pin_memory=True)
    copy_to_host(flat.to(torch.float32), host)
    return Staged(flat, host.numpy(), host.numpy())


def copy_to_host(source: Tensor, host: Tensor) -> None:
    """Copy to pinned memory, and wait for the current stream alone until it is there."""
    torch = sys.modules["torch"]
    host.copy_(source, non_blocking=True)
    if source.device.type == "cuda":
        torch.cuda.current_stream(source.device).synchronize()


def to_float32(x: Tensor) -> Tensor:
    """`x` itself if it is that."""
    return x.to(sys.modules["torch"].float32)


def pinned_bytes(count: int) -> Tensor:
    """Host memory, from torch's own pool; pinned where there is a GPU."""
    torch = sys.modules["torch"]
    made: Tensor = torch.empty(count, dtype=torch.uint8, pin_memory=torch.cuda.is_available())
    return made


def to_device(x: Tensor, device: Any) -> Tensor:
    """Begin to copy pinned memory to a device, on its current stream."""
    return x.to(device, non_blocking=True)


def divide(x: Tensor, divisor: float) -> None:
    """x /= divisor in float32. By a number of Python's, torch multiplies by the inverse on GPUs."""
    torch = sys.modules["torch"]
    x.div_(torch.full((), divisor, dtype=torch.float32, device=x.device))


def all_finite(x: Tensor) -> bool:
    """Waits for the current stream."""
    return bool(sys.modules["torch"].isfinite(x).all())


def can_encode_on(device: Any) -> bool:
    """Whether codecs run on a torch device: on a GPU, where Triton is installed."""
    return bool(device.type == "cuda") and importlib.util.find_spec("triton") is not None


def zeros(elements: int, dtype: str, device: Any, *, pinned: bool = False) -> Tensor:
    """A flat tensor of a dtype by name; pinned: host memory that a GPU reads without a copy."""
    torch = sys.modules["torch"]
    made: Tensor = torch.zeros(
        elements,
        dtype=getattr(torch, dtype),
        device=device,
        pin_memory=pinned and torch.cuda.is_available(),
    )
    return made


def words_view(x: Tensor) -> NDArray[np.float32] | NDArray[np.uint16]:
    """A CPU tensor's memory, float32 or bfloat16 (as uint16)."""
    torch = sys.modules["torch"]
    if x.dtype == torch.bfloat16:
        halves: NDArray[np.uint16] = x.view(torch.int16).numpy().view(np.uint16)
        return halves
    floats: NDArray[np.float32] = x.numpy()
    return floats


def from_host_float32(values: NDArray[np.float32], gradient: Tensor) -> None:
    """Write `values` over the gradient, in its dtype, and wait until they are there."""
    torch = sys.modules["torch"]
    if gradient.device.type == "cpu" and gradient.data_ptr() == values.ctypes.data:
        return
    gradient.copy_(torch.from_numpy(values))
