"""initial: every site begins with the first site's parameters and buffers.

DDP itself does this only inside a site.
"""

import hashlib
from collections.abc import Iterator

import torch
from torch.nn.parallel import DistributedDataParallel

from isthmus.errors import InternalError
from isthmus.hook.site import Site
from isthmus.session import Session

_parcel_bytes = 32 << 20


def copy_from_first_site(
    model: DistributedDataParallel, session: Session | None, site: Site
) -> None:
    """Overwrite parameters and buffers at every rank, and check that all ranks hold the same."""
    ignored = set(getattr(model, "parameters_to_ignore", ()))
    state = [
        tensor.detach()
        for name, tensor in [*model.module.named_parameters(), *model.module.named_buffers()]
        if name not in ignored and tensor.numel() > 0
    ]
    site.share(lambda: _across_sites(state, session))
    for tensor in state:
        whole = tensor.contiguous()
        site.broadcast(whole)
        if whole is not tensor:
            tensor.copy_(whole)
    _check(state, session, site)


def _across_sites(state: list[torch.Tensor], session: Session | None) -> None:
    assert session is not None
    for parcel in _parcels(state):
        data = torch.cat([_bytes(tensor) for tensor in parcel])
        session.broadcast(data, root=0)
        begin = 0
        for tensor in parcel:
            size = tensor.numel() * tensor.element_size()
            # A clone, because a view as another dtype needs aligned memory.
            part = data[begin : begin + size].clone().view(tensor.dtype)
            tensor.copy_(part.view(tensor.shape))
            begin += size


def _parcels(state: list[torch.Tensor]) -> Iterator[list[torch.Tensor]]:
    """Few large operations instead of one per tensor, each of bounded memory."""
    parcel: list[torch.Tensor] = []
    size = 0
    for tensor in state:
        parcel.append(tensor)
        size += tensor.numel() * tensor.element_size()
        if size >= _parcel_bytes:
            yield parcel
            parcel, size = [], 0
    if parcel:
        yield parcel


def _bytes(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.contiguous().view(-1).view(torch.uint8).cpu()


def _check(state: list[torch.Tensor], session: Session | None, site: Site) -> None:
    digest = hashlib.blake2b(digest_size=16)
    for tensor in state:
        digest.update(_bytes(tensor).numpy().data)

    def compare() -> str:
        assert session is not None
        every = session.all_gather(digest.digest())
        for name, other in zip(session.sites, every, strict=True):
            if other != every[0]:
                raise InternalError(f"site {name!r} does not hold the first site's parameters")
        return digest.hexdigest()

    if site.share(compare) != digest.hexdigest():
        raise InternalError(f"rank {site.rank} does not hold its gateway's parameters")
