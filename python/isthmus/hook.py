"""hook: a DDP communication hook that takes each gradient bucket across the sites.

DDP runs over the site's own process group and knows nothing of the other sites.
(No `from __future__ import annotations` here: DDP reads the hook's annotations.)
"""

import weakref
from typing import Any

import torch
from torch._C._distributed_c10d import GradBucket
from torch.nn.parallel import DistributedDataParallel
from torch.optim.optimizer import register_optimizer_step_pre_hook

from isthmus.errors import Cancelled, Refused
from isthmus.initial import copy_from_first_site
from isthmus.lane import Lane
from isthmus.layout import Layout, compare_across_sites
from isthmus.meter import Meter
from isthmus.pipeline import Pipeline
from isthmus.session import Follower, Session
from isthmus.site import Site
from isthmus.usage import Usage

_state_version = 1
_dtypes = (torch.float32, torch.bfloat16, torch.float16, torch.float64)


class Hook:
    """What `register` returns. Once a step has failed, training cannot go on unnoticed:

    the next optimizer step over the model's parameters raises the typed error, and so do the next
    forward pass in training mode and `check`, at every rank.
    """

    def __init__(
        self,
        model: DistributedDataParallel,
        session: Session | None,
        site: Site,
        *,
        layout: Layout,
        codec: str,
        weight: float,
    ) -> None:
        device = layout.parameters[0].device
        self._session = session
        self._site = site
        self._layout = layout
        self._codec = codec
        self._meter = Meter()
        self._before = (0, 0)  # steps and buckets of the runs that this one continues
        pipeline = None if session is None else Pipeline(session, codec, weight)
        self._lane = Lane(site, pipeline, self._meter, device)
        weakref.finalize(self, self._lane.close)
        dynamic = model.find_unused_parameters and not model.static_graph
        self._usage = Usage(layout.parameters) if dynamic else None
        self._guard(model)

    def check(self) -> None:
        """Raise the error that stopped the exchange, if one did."""
        if self._lane.failure is not None:
            raise self._lane.failure.with_traceback(None)

    def stats(self) -> dict[str, Any]:
        """steps, buckets; exchange_seconds: from a step's first bucket to its last result, summed;
        waiting_seconds: the part of it after backward had handed over its last bucket;
        session: the gateway's session.stats(), empty at the site's other ranks."""
        exchange, waiting = self._meter.seconds()
        return {
            "steps": self._before[0] + self._meter.steps,
            "buckets": self._before[1] + self._meter.buckets,
            "exchange_seconds": exchange,
            "waiting_seconds": waiting,
            "session": {} if self._session is None else self._session.stats(),
        }

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers and texts, for a checkpoint; the same at every rank of every site."""
        return {
            "version": _state_version,
            "steps": self._before[0] + self._meter.steps,
            "buckets": self._before[1] + self._meter.buckets,
            "codec": self._codec,
            "layout": self._layout.hash.hex(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue the counts of a checkpoint; Refused if it is of another model or codec."""
        mine = self.state_dict()
        if set(state) != set(mine):
            raise Refused(f"not a hook's state: it has {sorted(state)}, expected {sorted(mine)}")
        for key in ("version", "codec", "layout"):
            if state[key] != mine[key]:
                raise Refused(
                    f"the checkpoint's {key} is {state[key]!r}, this hook's is {mine[key]!r}"
                )
        self._before = (
            int(state["steps"]) - self._meter.steps,
            int(state["buckets"]) - self._meter.buckets,
        )

    def close(self) -> None:
        """End the hook's threads. DDP cannot let go of a hook, so training this DDP object
        further raises Cancelled; evaluating it is fine, and a new DDP around the same module can
        be registered."""
        self._lane.close()
        self._lane.fail(Cancelled("the hook was closed: wrap the module in a new DDP to train on"))
        if self._usage is not None:
            self._usage.close()
        self._site.close()

    def take(self, bucket: GradBucket) -> "torch.futures.Future[torch.Tensor]":
        """One bucket from DDP. Never raises, which would leave DDP's reducer unusable."""
        buffer = bucket.buffer()
        is_last = bucket.is_last()
        try:
            self._meter.handed_over(is_last=is_last)
            if buffer.layout != torch.strided:
                raise Refused(_no_sparse)
            self.check_open()
            future = self._lane.submit(buffer, self._layout.of_bucket(bucket.parameters()))
            if self._usage is not None:
                self._usage.add(bucket)
                if is_last:
                    self._usage.finish(self._submit_usage, self._failed)
            return future
        except Exception as error:
            self._lane.fail(error)
            done: torch.futures.Future[torch.Tensor] = torch.futures.Future()
            done.set_result(buffer)
            return done

    def check_open(self) -> None:
        if isinstance(self._lane.failure, Cancelled):
            raise self._lane.failure

    def _submit_usage(self, used: torch.Tensor) -> "torch.futures.Future[torch.Tensor]":
        device = self._layout.parameters[0].device
        return self._lane.submit(used.to(device), self._layout.of_usage(), exact=True)

    def _failed(self) -> bool:
        return self._lane.failure is not None

    def _guard(self, model: DistributedDataParallel) -> None:
        """Let no step pass after a failure. Holds the hook weakly: the model keeps it alive."""
        this = weakref.ref(self)

        def before_step(optimizer: Any, args: Any, kwargs: Any) -> None:
            hook = this()
            if hook is not None and hook._failed() and hook._concerns(optimizer):
                hook.check()

        def before_forward(module: torch.nn.Module, inputs: Any) -> None:
            if module.training and torch.is_grad_enabled():
                self.check()

        handle = register_optimizer_step_pre_hook(before_step)
        weakref.finalize(self, handle.remove)
        model.register_forward_pre_hook(before_forward)

    def _concerns(self, optimizer: torch.optim.Optimizer) -> bool:
        return any(
            id(parameter) in self._layout.index
            for group in optimizer.param_groups
            for parameter in group["params"]
        )


def register(
    ddp_model: DistributedDataParallel,
    session: Session | Follower | None,
    *,
    codec: str = "f32",
    weight: float | None = None,
) -> Hook:
    """Make `ddp_model` one model across all sites: call it at every rank of every site.

    ddp_model: DistributedDataParallel over the site's own process group. session: what `join`
    returned (at ranks other than the group's rank 0 a Follower, or None). codec: of the gradients
    on the wire. weight: this site's in the mean; default: its number of ranks, so that the result
    is DDP's mean over all ranks of all sites.

    All sites start from the first site's parameters and buffers. Buffers that change in training
    (BatchNorm's) are afterwards kept equal inside a site only, by DDP.
    Gradients travel as float32 (float64 is rounded; bfloat16 and float16 are averaged in float32).

    Raises Refused at every rank if the sites' models, DDP settings or codecs differ.
    """
    _check_model(ddp_model)
    site = Site(ddp_model.process_group)
    gateway = _introduce(session, site)
    layout = Layout(ddp_model)

    def compare() -> None:
        assert gateway is not None
        compare_across_sites(layout, codec, gateway)

    site.share(compare)
    copy_from_first_site(ddp_model, gateway, site)
    hook = Hook(
        ddp_model,
        gateway,
        site,
        layout=layout,
        codec=codec,
        weight=float(site.size) if weight is None else weight,
    )

    def take(state: object, bucket: GradBucket) -> torch.futures.Future[torch.Tensor]:
        return hook.take(bucket)

    ddp_model.register_comm_hook(None, take)
    return hook


def _introduce(session: Session | Follower | None, site: Site) -> Session | None:
    """Open the site's groups, and tell every rank of it who it belongs to."""
    if not site.is_gateway and isinstance(session, Session):
        raise Refused(
            f"rank {site.rank} of the model's process group holds {session!r}, but only rank 0 "
            "may: pass None here, or call join() after init_process_group"
        )

    def facts() -> dict[str, Any]:
        if not isinstance(session, Session):
            raise Refused(
                "rank 0 of the model's process group is the site's gateway and needs a Session, "
                f"not {session!r}: call join() there"
            )
        return {
            "site": session.site,
            "sites": session.sites,
            "rank": session.rank,
            "timeout": session.timeout,
        }

    site.open_words()
    known = site.share(facts)
    site.open(timeout=known["timeout"])
    if isinstance(session, Follower):
        session.site = known["site"]
        session.sites = tuple(known["sites"])
        session.rank = known["rank"]
        session.timeout = known["timeout"]
    return session if isinstance(session, Session) else None


_no_sparse = (
    "sparse gradients cannot cross sites: build the embedding with sparse=False, "
    "or leave it out of DDP"
)


def _check_model(model: DistributedDataParallel) -> None:
    if not isinstance(model, DistributedDataParallel):
        raise Refused(
            f"register takes a DistributedDataParallel model, not {type(model).__name__}: "
            "wrap it over the site's own process group first"
        )
    if getattr(model, "_comm_hooks", None):
        raise Refused("this DDP model has a communication hook already, and DDP allows only one")
    if getattr(model, "mixed_precision", None) is not None:
        raise Refused("DDP's mixed_precision= takes the place of the hook: use torch.autocast")
    for name, module in model.module.named_modules():
        if getattr(module, "sparse", False):
            raise Refused(f"module {name!r}: {_no_sparse}")
    trained = [(n, p) for n, p in model.module.named_parameters() if p.requires_grad]
    for name, parameter in trained:
        if parameter.dtype not in _dtypes:
            raise Refused(f"parameter {name!r} is {parameter.dtype}, which cannot be averaged")
    if len({parameter.device for _, parameter in trained}) > 1:
        raise Refused("the model's parameters are on several devices; isthmus needs one per rank")
