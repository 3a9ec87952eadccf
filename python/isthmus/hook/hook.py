"""hook: a DDP communication hook that takes each gradient bucket across the sites.

DDP runs over the site's own process group and knows nothing of the other sites.
"""

import logging
import weakref
from typing import Any

import torch
from torch._C._distributed_c10d import GradBucket
from torch.nn.parallel import DistributedDataParallel
from torch.optim.optimizer import register_optimizer_step_pre_hook

from isthmus.errors import Cancelled, IsthmusError, Refused
from isthmus.hook.delay import Delay
from isthmus.hook.lane import Lane
from isthmus.hook.layout import Layout
from isthmus.hook.meter import Meter
from isthmus.hook.residuals import Residuals
from isthmus.hook.shards import Shards
from isthmus.hook.site import Site
from isthmus.hook.usage import Usage
from isthmus.packing import Rules
from isthmus.pipeline import Pipeline
from isthmus.session import Session
from isthmus.spans import Spans
from isthmus.stats import HookStats

_log = logging.getLogger("isthmus")
_state_version = 4
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
        weakref.finalize(self, self._lane.close)
        dynamic = model.find_unused_parameters and not model.static_graph
        self._usage = Usage(layout.parameters) if dynamic else None
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
        """For a checkpoint, between steps: numbers, texts, and tensors by parameter name.

        `residuals` are those that this rank keeps, so keep the state of every gateway: of every
        site's rank 0, and with rails of ranks 1, 2 … too. `site` and `rank` say whose it is; the
        rest is the same at every rank of every site. With delay=1 this waits for the exchange under
        way, and `pending` is the mean that the next step brings.
        """
        self._settle()
        return self._counts() | {
            "pending": None if self._delay is None else self._delay.state(),
            "site": self._site.name,
            "rank": self._site.rank,
            "residuals": self._residuals.state(),
        }

    def _counts(self) -> dict[str, Any]:
        return {
            "version": _state_version,
            "steps": self._before[0] + self._meter.steps,
            "buckets": self._before[1] + self._meter.buckets,
            "codec": self._rules.text,
            "layout": self._layout.hash.hex(),
            "delay": 0 if self._delay is None else 1,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a checkpoint, between steps; Refused if it is of another model or codec.

        Residuals of another rank or site are left out, and a gateway warns: what that still owes to
        the sum is not this one's. The number of rails may have changed.
        """
        mine = self._counts()
        self._settle()
        state = _with_rank(state)
        names = {*mine, "site", "rank", "residuals", "pending"}
        if set(state) != names:
            raise Refused(f"not a hook's state: it has {sorted(state)}, expected {sorted(names)}")
        for key in ("version", "codec", "layout", "delay"):
            if state[key] != mine[key]:
                raise Refused(
                    f"the checkpoint's {key} is {state[key]!r}, this hook's is {mine[key]!r}"
                )
        if (state["site"], state["rank"]) == (self._site.name, self._site.rank):
            self._residuals.load(state["residuals"])
        elif state["residuals"] and self._site.is_gateway:
            _log.warning(
                "site %r, rank %d: the checkpoint's residuals are of site %r, rank %d and are left "
                "out; save and load the hook's state at every gateway",
                self._site.name,
                self._site.rank,
                state["site"],
                state["rank"],
            )
        if self._delay is not None:
            self._delay.load(state["pending"])
        self._before = (
            int(state["steps"]) - self._meter.steps,
            int(state["buckets"]) - self._meter.buckets,
        )
        self._lane.attendance.before = self._before[0]

    def close(self) -> None:
        """End the hook's threads. DDP cannot let go of a hook, so training this DDP object
        further raises Cancelled; evaluating it is fine, and a new DDP around the same module can
        be registered."""
        self._lane.close()
        self._fail(Cancelled("the hook was closed: wrap the module in a new DDP to train on"))
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
                raise Refused(no_sparse)
            self.check_open()
            contents = self._layout.of_bucket(bucket.parameters())
            way = self._lane.submit if self._delay is None else self._delay.take
            future = way(buffer, contents, is_last=is_last)
            if self._usage is not None:
                self._usage.add(bucket)
                if is_last:
                    self._usage.finish(self._submit_usage, self._failed)
            return future
        except Exception as error:
            self._fail(error)
            done: torch.futures.Future[torch.Tensor] = torch.futures.Future()
            done.set_result(buffer)
            return done

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
        model.register_forward_pre_hook(before_forward)

    def _concerns(self, optimizer: torch.optim.Optimizer) -> bool:
        return any(
            id(parameter) in self._layout.index
            for group in optimizer.param_groups
            for parameter in group["params"]
        )


def _with_rank(state: dict[str, Any]) -> dict[str, Any]:
    """Version 3 had one gateway a site, its rank 0, and so did not say whose residuals it has."""
    if state.get("version") != 3 or "rank" in state:
        return state
    return {**state, "version": _state_version, "rank": 0}
