"""decode: the mean of all sites back to where the gradient lives, in the gradient's own dtype.

A mean in host memory was decoded by the native core, slice by slice, while the next slices
travelled. Terms go to the device as they are, far fewer bytes than their sum, and Triton decodes
and adds them there, on the current stream. Both end with the same bits.
"""

from isthmus.arrays import Tensor, all_finite, divide, from_host_float32, to_device, to_float32
from isthmus.doors import Mean, Parts


def decode(result: Mean | Parts, gradient: Tensor) -> bool:
    """Write the mean over `gradient`, flat; returns whether all of it is finite.

    No copy where a mean and the gradient are the same memory. Of parts this waits for the current
    stream, to know.
    """
    if isinstance(result, Mean):
        from_host_float32(result.values, gradient)
        return result.finite
    mean = to_float32(gradient)
    _sum_on_device(result, mean)
    if mean is not gradient:
        gradient.copy_(mean)
    return all_finite(mean)


def _sum_on_device(parts: Parts, mean: Tensor) -> None:
    """In the order and with the roundings of the native core (csrc/collective/accumulate.cpp)."""
    from isthmus.kernels import codecs

    wires = to_device(parts.wires, mean.device)
    begin = 0
    for (name, _, elements), offset in zip(
        parts.terms.segments, parts.terms.offsets[:-1], strict=True
    ):
        codec = codecs.device(name)
        own = mean[begin : begin + elements]
        for i, weight in enumerate(parts.rule.weights):
            at = i * parts.terms.stride + offset
            wire = wires[at : at + codec.wire_size(elements)]
            if i > 0:
                codec.decode_add(wire, weight, own)
                continue
            codec.decode(wire, elements, own)
            if weight != 1:
                own.mul_(weight)
        begin += elements
    if parts.rule.divisor != 1:
        divide(mean, parts.rule.divisor)
