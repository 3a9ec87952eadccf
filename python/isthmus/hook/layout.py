"""layout: what a model's gradients are, as numbers that sites compare.

Buckets are never told apart by their index: DDP builds them anew after the first step.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn.parallel import DistributedDataParallel

from isthmus.errors import Refused
from isthmus.packing import Rules, Way
from isthmus.session import Session

_digest_bytes = 8
_most_bytes = (1 << 20) - 256  # what one all_gather carries a site


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=_digest_bytes).digest()


def _number(digest: bytes) -> int:
    return int.from_bytes(digest, "little") >> 1  # fits a signed 64-bit integer


@dataclass(frozen=True)
class Contents:
    """What one bucket holds. parameters: their places in the model's order, in the bucket's."""

    hash: int
    parameters: tuple[int, ...]


class Layout:
    """Names, shapes and dtypes of the parameters that get gradients, in the model's order."""

    def __init__(self, model: DistributedDataParallel) -> None:
        named = [(n, p) for n, p in model.module.named_parameters() if p.requires_grad]
        self.parameters = [parameter for _, parameter in named]
        self.names = [name for name, _ in named]
        self.lines = [
            f"{name} {tuple(p.shape)} {str(p.dtype).removeprefix('torch.')}" for name, p in named
        ]
        self.index = {id(parameter): i for i, parameter in enumerate(self.parameters)}
        # What must be equal too, or the sites would not start the same operations.
        self.ways = json.dumps(
            {
                "bucket_bytes": model.bucket_bytes_cap,
                "find_unused_parameters": model.find_unused_parameters,
                "static_graph": model.static_graph,
            },
            sort_keys=True,
        )
        self.hash = _digest("\n".join([*self.lines, self.ways]))
        self._buckets: dict[tuple[int, ...], Contents] = {}

    def of_bucket(self, parameters: Sequence[torch.Tensor]) -> Contents:
        """Which parameters a bucket holds, and a hash of what its elements are, in order."""
        key = tuple(self.index.get(id(parameter), -1) for parameter in parameters)
        if -1 in key:
            raise Refused("DDP made a bucket of parameters that the model does not name")
        return self.of_places(key)

    def of_places(self, key: tuple[int, ...]) -> Contents:
        """The same, by the parameters' places in the model's order."""
        if key not in self._buckets:
            lines = "\n".join(self.lines[i] for i in key)
            self._buckets[key] = Contents(_number(_digest(lines)), key)
        return self._buckets[key]

    def ways_by(self, rules: Rules) -> list[Way]:
        """How each parameter travels. Refused: the rules do not say it of one."""
        named = zip(self.names, self.parameters, strict=True)
        return [rules.of(name, parameter.dim()) for name, parameter in named]

    def of_usage(self) -> Contents:
        """The same of the vector that says which parameters were used."""
        return Contents(_number(_digest(f"used {self.hash.hex()}")), ())


def compare_across_sites(layout: Layout, codec: str, delay: int, session: Session | None) -> None:
    """Raise Refused at every site, naming the first difference, unless all sites agree.

    codec: the rules' text. REQUIRES: the gateway, which has a session.

    All sites see the same answers, so all take the same way through here.
    """
    assert session is not None
    ways = json.dumps({"codec": codec, "delay": delay, **json.loads(layout.ways)}, sort_keys=True)
    _refuse_difference(session, "register's settings", ways)
    if len(set(session.all_gather(layout.hash))) == 1:
        return
    _refuse_difference(session, "the number of parameters", str(len(layout.lines)))
    most = _most_bytes // _digest_bytes
    mine = b"".join(_digest(line) for line in layout.lines[:most])
    rows = [
        [row[i : i + _digest_bytes] for i in range(0, len(row), _digest_bytes)]
        for row in session.all_gather(mine)
    ]
    for i, column in enumerate(zip(*rows, strict=True)):
        if len(set(column)) > 1:
            _refuse_difference(session, f"parameter {i}", layout.lines[i])
    raise Refused(f"the sites' models differ after parameter {most}")


def _refuse_difference(session: Session, what: str, mine: str) -> None:
    answers = [answer.decode() for answer in session.all_gather(mine.encode()[: _most_bytes // 64])]
    if len(set(answers)) == 1:
        return
    by_answer: dict[str, list[str]] = {}
    for site, answer in zip(session.sites, answers, strict=True):
        by_answer.setdefault(answer, []).append(site)
    said = "; ".join(f"{answer} at {', '.join(at)}" for answer, at in by_answer.items())
    raise Refused(f"the sites differ in {what}: {said}. All sites must build the same model")
