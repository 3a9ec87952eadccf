"""hook: a DDP communication hook that takes each gradient bucket across the sites.

DDP runs over the site's own process group and knows nothing of the other sites.
"""

import logging
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch._C._distributed_c10d import GradBucket
from torch.nn.parallel import DistributedDataParallel
from torch.optim.optimizer import register_optimizer_step_pre_hook

from isthmus.errors import Cancelled, IsthmusError, Refused
from isthmus.hook import saved
from isthmus.hook.arrivals import Arrivals
from isthmus.hook.delay import Delay
from isthmus.hook.grouping import Grouping
from isthmus.hook.lane import Lane
from isthmus.hook.layout import Layout
from isthmus.hook.meter import Meter
from isthmus.hook.residuals import Residuals
from isthmus.hook.shards import Shards
from isthmus.hook.site import Site
from isthmus.hook.usage import Usage
from isthmus.links import Links
from isthmus.packing import Rules
from isthmus.pipeline import Pipeline
from isthmus.session import Session
from isthmus.spans import Spans
from isthmus.stats import HookStats

_log = logging.getLogger("isthmus")


class Door:
    """What DDP is given in the hook's place, for good: its reducer's hold on it is not seen by
    Python's collector, so a closed hook leaves it, and model and buckets can be let go."""

    def __init__(self, hook: "Hook") -> None:
        self._hook: Hook | None = hook
        hook.leaving.append(self.close)

    def take(self, bucket: GradBucket) -> "torch.futures.Future[torch.Tensor]":
        """Raises Cancelled out of a backward pass that the hook's end came before: no step may
        follow, and nobody holds back the optimizer any more."""
        hook = self._hook
        if hook is None:
            raise Cancelled(closed)
        return hook.take(bucket)

    def close(self) -> None:
        self._hook = None


closed = "the hook was closed: wrap the module in a new DDP to train on"
no_sparse = (
    "sparse gradients cannot cross sites: build the embedding with sparse=False, "
    "or leave it out of DDP"
)


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
        rules: Rules,
        weight: float,
        delay: int,
        scaler: torch.amp.GradScaler | None,
    ) -> None:
        device = layout.parameters[0].device
        self._session = session
        self._site = site
        self._layout = layout
        self._rules = rules
        self._meter = Meter()
        self._spans = Spans()
        self._before = (0, 0)  # steps and buckets of the runs that this one continues
        pipeline = None if session is None else Pipeline(session, weight, spans=self._spans)
        ways = layout.ways_by(rules)
        shards = Shards(layout, ways, site.rails)
        self._residuals = Residuals(layout, ways, shards, rank=site.rank, ranks=site.size)
        self._lane = Lane(
            site,
            pipeline,
            shards,
            self._residuals,
            self._meter,
            self._spans,
            device,
            apart=delay > 0,
        )
        self._delay = Delay(layout, self._lane, self._meter, scaler) if delay else None
        self._grouping = Grouping(
            layout, self._lane.submit if self._delay is None else self._delay.take
        )
        ending = weakref.finalize(self, self._lane.close)
        # A failure has a traceback, which has the model: a closed hook must be held by nobody.
        self.leaving: list[Callable[[], object]] = [ending.detach]
        """Called when it is closed."""
        dynamic = model.find_unused_parameters and not model.static_graph
        self._usage = Usage(layout.parameters) if dynamic else None
        self._arrivals = Arrivals(model, layout.parameters)
        self._rehearsing = False
        self._closed = False
        self._guard(model)

    def check(self) -> None:
        """Raise the error that stopped the exchange, if one did. With delay=1, once its mean was
        due."""
        failure = self._failure()
        if failure is not None:
            raise failure.with_traceback(None)

    def stats(self) -> HookStats:
        """A dictionary that prints as a table; docs/stats.md explains it.

        session: session.stats() of this gateway's rail, empty at ranks that are no gateways.
        """
        exchange, waiting = self._meter.seconds()
        session: dict[str, Any] = {} if self._session is None else self._session.stats()
        links = session.get("links", {}).values()
        return HookStats(
            steps=self._before[0] + self._meter.steps,
            buckets=self._before[1] + self._meter.buckets,
            delay=0 if self._delay is None else 1,
            exchange_seconds=exchange,
            waiting_seconds=waiting,
            hidden_share=max(0.0, 1 - waiting / exchange) if exchange else 0.0,
            stage_seconds=self._spans.seconds(),
            compression=session.get("compression", 1.0),
            contributors=session.get("contributors", ()),
            bytes_sent=sum(link["bytes_sent"] for link in links),
            bytes_received=sum(link["bytes_received"] for link in links),
            session=session,
        )

    @property
    def warming(self) -> bool:
        """With delay=1, whether the last backward brought zeros, because none was before it.

        Ask before optimizer.step() if an optimizer should not see them.
        """
        return self._delay is not None and self._delay.warming

    def flush(self) -> bool:
        """With delay=1: wait for the last step's mean, and put it into the parameters' `.grad`.

        True: it is there, and one more optimizer step applies it; the next backward brings zeros
        again. False: nothing was held back. Call it at every rank of every site, between steps.
        Raises the exchange's error.
        """
        self._settle()
        return self._delay is not None and self._delay.flush()

    def _settle(self) -> None:
        if self._delay is not None:
            self._delay.wait()
            self.check()

    def state_dict(self) -> dict[str, Any]:
        """All that isthmus adds to a checkpoint, between steps: numbers, texts, and tensors by
        parameter name; torch.load(weights_only=True) reads it.

        `residuals` and `dither` are those that this rank keeps, so keep the state of every gateway:
        of every site's rank 0, and with rails of ranks 1, 2 … too. `site` and `rank` say whose it
        is; the rest is the same at every rank of every site. With delay=1 this waits for the
        exchange under way, and `pending` is the mean that the next step brings.
        """
        self._settle()
        session = self._session
        links = None if session is None or session.links is None else asdict(session.links)
        return {
            "version": saved.VERSION,
            "steps": self._before[0] + self._meter.steps,
            "buckets": self._before[1] + self._meter.buckets,
            "codec": self._rules.text,
            "layout": self._layout.hash.hex(),
            "delay": 0 if self._delay is None else 1,
            "sites": list(self._site.sites),
            "order": self._arrivals.order,
            "pending": None if self._delay is None else self._delay.state(),
            "site": self._site.name,
            "rank": self._site.rank,
            "residuals": self._residuals.state(),
            "dither": None if session is None else saved.dither_of(session),
            "links": links,
        }

    def load_state_dict(self, state: Mapping[str, Any], *, strict: bool = True) -> None:
        """Continue from a checkpoint, between steps, at every rank of every site; Refused if it is
        of another model, codec, delay or (strict) of other sites.

        Residuals of another rank or site are left out, and a gateway warns: what that still owes to
        the sum is not this one's. The number of rails may have changed.
        """
        self._settle()
        state = saved.upgraded(state)
        who = f"site {self._site.name!r}, rank {self._site.rank}"
        saved.check(state, self.state_dict(), who=who, strict=strict)
        if (state["site"], state["rank"]) == (self._site.name, self._site.rank):
            self._residuals.load(state["residuals"])
            if self._session is not None:
                saved.load_dither(self._session, state["dither"])
        elif state["residuals"] and self._site.is_gateway:
            _log.warning(
                "%s: the checkpoint's residuals are of site %r, rank %d and are left out; save and "
                "load the hook's state at every gateway",
                who,
                state["site"],
                state["rank"],
            )
        if self._delay is not None:
            self._delay.load(state["pending"])
        self._go_by(state["links"])
        self._rehearse(state["order"])
        self._lane.begin_at(int(state["steps"]))
        self._count_from(state)

    def _count_from(self, state: Mapping[str, Any]) -> None:
        self._before = (
            int(state["steps"]) - self._meter.steps,
            int(state["buckets"]) - self._meter.buckets,
        )

    @property
    def buckets_are_settled(self) -> bool:
        """Whether the next backward pass has the buckets of the last one."""
        return self._grouping.is_settled

    def rest(self) -> None:
        """Between steps: wait until nothing of this rank is on its way. Raises what went wrong."""
        self._settle()
        self.check()

    def sent(self) -> None:
        """Between steps: wait until all that this rank handed over has begun to cross, so that what
        comes next comes next at all sites."""
        self._lane.wait_sent()

    def shared_state(self) -> dict[str, Any]:
        """What is the same at all sites, for one that has none of it. REQUIRES: rest()."""
        whole = self.state_dict()
        own = ("site", "rank", "sites", "residuals", "dither", "order")
        shared = {key: value for key, value in whole.items() if key not in own}
        return {**shared, "grouping": self._grouping.state()}

    def change_sites(self, sites: Sequence[str]) -> None:
        """By rank: those of the epoch that follows."""
        self._site.sites = tuple(sites)

    def take_over(self, state: Mapping[str, Any]) -> None:
        """Go on where the others are, who gave this; Refused if their model or codec is another.

        Residuals begin at zero. REQUIRES: rest().
        """
        saved.check_shared(state, self.shared_state(), who=f"site {self._site.name!r}")
        self._residuals.load({})
        if self._delay is not None:
            self._delay.load(state["pending"])
        if self._session is not None:  # what this site knew by itself is not what the others go by
            self._session.set_links(None)
        self._go_by(state["links"])
        self._grouping.load(state["grouping"])
        self._count_from(state)

    def _go_by(self, links: Mapping[str, Any] | None) -> None:
        """Plans make bits, and follow from what was measured."""
        session = self._session
        if session is not None and links is not None and tuple(links["sites"]) == session.sites:
            session.set_links(Links(**links))

    def _rehearse(self, order: Sequence[int]) -> None:
        self._rehearsing = True
        try:
            self._arrivals.rehearse(order)
        finally:
            self._rehearsing = False

    def close(self) -> None:
        """End the hook's threads. DDP cannot let go of a hook, so training this DDP object
        further raises Cancelled; evaluating it is fine, and a new DDP around the same module can
        be registered, and trained with the same optimizer. Gradients of a step that failed are
        let go of (`grad` is None): no optimizer may go by them."""
        if self._closed:
            return
        self._closed = True
        self._lane.close()
        if self._failed():
            for parameter in self._layout.parameters:
                parameter.grad = None
        self._fail(Cancelled(closed))
        self._arrivals.close()
        if self._usage is not None:
            self._usage.close()
        self._site.close()
        for leave in self.leaving:
            leave()

    def take(self, bucket: GradBucket) -> "torch.futures.Future[torch.Tensor]":
        """One bucket from DDP. Never raises, which would leave DDP's reducer unusable."""
        buffer = bucket.buffer()
        is_last = bucket.is_last()
        if self._rehearsing:
            return _done(buffer)
        if is_last:
            self._arrivals.end_step()
        try:
            self._meter.handed_over(is_last=is_last)
            if buffer.layout != torch.strided:
                raise Refused(no_sparse)
            self.check_open()
            contents = self._layout.of_bucket(bucket.parameters())
            future = self._grouping.take(buffer, contents, is_last=is_last)
            if self._usage is not None:
                self._usage.add(bucket)
                if is_last:
                    self._usage.finish(self._submit_usage, self._failed)
            return future
        except Exception as error:
            self._fail(error)
            return _done(buffer)

    def check_open(self) -> None:
        if isinstance(self._lane.failure, Cancelled):
            raise self._lane.failure

    def _submit_usage(self, used: torch.Tensor) -> "torch.futures.Future[torch.Tensor]":
        device = self._layout.parameters[0].device
        return self._lane.submit_exactly(used.to(device), self._layout.of_usage())

    def _fail(self, error: Exception) -> None:
        self._lane.fail(error)
        if self._delay is not None:
            self._delay.failure = self._delay.failure or self._lane.failure

    def _failure(self) -> IsthmusError | None:
        return self._lane.failure if self._delay is None else self._delay.failure

    def _failed(self) -> bool:
        return self._failure() is not None

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
        self.leaving.append(handle.remove)
        model.register_forward_pre_hook(before_forward)

    def _concerns(self, optimizer: torch.optim.Optimizer) -> bool:
        return any(
            id(parameter) in self._layout.index
            for group in optimizer.param_groups
            for parameter in group["params"]
        )


def _done(buffer: torch.Tensor) -> "torch.futures.Future[torch.Tensor]":
    done: torch.futures.Future[torch.Tensor] = torch.futures.Future()
    done.set_result(buffer)
    return done
