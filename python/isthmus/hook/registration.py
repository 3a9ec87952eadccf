"""registration: from a DDP model and a session to a hook, with the same outcome at every rank.

(No `from __future__ import annotations` here: DDP reads the hook's annotations.)
"""

import torch
from torch._C._distributed_c10d import GradBucket
from torch.nn.parallel import DistributedDataParallel

from isthmus.errors import Refused
from isthmus.hook.hook import Door, Hook, no_sparse
from isthmus.hook.initial import copy_from_first_site
from isthmus.hook.introduction import introduce
from isthmus.hook.layout import Layout, compare_across_sites
from isthmus.hook.site import Site
from isthmus.packing import CodecRule, FeedbackRule, Rules
from isthmus.session import Follower, Session

_dtypes = (torch.float32, torch.bfloat16, torch.float16, torch.float64)


def register(
    ddp_model: DistributedDataParallel,
    session: Session | Follower | None,
    *,
    codec: CodecRule = "f32",
    feedback: FeedbackRule = True,
    weight: float | None = None,
    delay: int = 0,
    scaler: torch.amp.GradScaler | None = None,
) -> Hook:
    """Make `ddp_model` one model across all sites: call it at every rank of every site.

    ddp_model: DistributedDataParallel over the site's own process group. session: what `join`
    returned (a Follower at ranks other than the group's rank 0; or None, where it is no gateway).

    codec: of the gradients on the wire: "f32", "bf16", "int8", "int4", "int2", "sign", "topk" or an
    object of isthmus.codecs, the same at all sites. "int4" means int4 from each site, int8 for the
    sums that come back, and bf16 for parameters of one dimension (norms, biases). A mapping from
    patterns to codecs chooses by parameter name, first match first:
    {"*embed*": "int8", "*.weight": "int4", "*": "bf16"}.

    feedback: what int4, int2, sign and topk round away is kept, at float32 or as Feedback(...)
    says, and added at the next step. False: no.

    weight: this site's in the mean; default: its number of ranks, so that the result is DDP's mean
    over all ranks of all sites.

    delay: 1: the optimizer gets the mean of the step before, so that an exchange has all the next
    step's time (docs/delay.md). scaler: with that, the GradScaler if there is one.

    All sites start from the first site's parameters and buffers. Buffers that change in training
    (BatchNorm's) are afterwards kept equal inside a site only, by DDP.
    Gradients travel as float32 (float64 is rounded; bfloat16 and float16 are averaged in float32).

    Raises Refused at every rank if the sites' models, DDP settings, codecs or rails differ.
    """
    _check_model(ddp_model, delay)
    rules = Rules(codec, feedback)
    Layout(ddp_model).ways_by(rules)
    site = Site(ddp_model.process_group)
    gateway = introduce(session, site)
    layout = Layout(ddp_model)
    # The others train already: what a newcomer has is compared when it is handed their state.
    if not site.share(lambda: gateway is not None and gateway.is_newcomer):
        site.share(lambda: compare_across_sites(layout, rules.text, delay, gateway))
        copy_from_first_site(ddp_model, gateway if site.speaks else None, site)
    hook = Hook(
        ddp_model,
        gateway,
        site,
        layout=layout,
        rules=rules,
        weight=float(site.size) if weight is None else weight,
        delay=delay,
        scaler=scaler,
    )

    ddp_model.register_comm_hook(Door(hook), _take)
    ddp_model.__dict__["isthmus_hook"] = hook  # for Run
    return hook


def _take(door: Door, bucket: GradBucket) -> torch.futures.Future[torch.Tensor]:
    return door.take(bucket)


def _check_delay(model: DistributedDataParallel, delay: int) -> None:
    if delay not in (0, 1):
        raise Refused(f"delay is {delay!r}; expected 0, or 1 for the step before's gradient")
    if delay and model.find_unused_parameters and not model.static_graph:
        raise Refused(
            "delay=1 cannot tell which step left a parameter unused: build DDP without "
            "find_unused_parameters, or with static_graph=True"
        )


def _check_model(model: DistributedDataParallel, delay: int) -> None:
    if not isinstance(model, DistributedDataParallel):
        raise Refused(
            f"register takes a DistributedDataParallel model, not {type(model).__name__}: "
            "wrap it over the site's own process group first"
        )
    if getattr(model, "_comm_hooks", None):
        raise Refused("this DDP model has a communication hook already, and DDP allows only one")
    _check_delay(model, delay)
    if getattr(model, "mixed_precision", None) is not None:
        raise Refused("DDP's mixed_precision= takes the place of the hook: use torch.autocast")
    for name, module in model.module.named_modules():
        if getattr(module, "sparse", False):
            raise Refused(f"module {name!r}: {no_sparse}")
    trained = [(n, p) for n, p in model.module.named_parameters() if p.requires_grad]
    for name, parameter in trained:
        if parameter.dtype not in _dtypes:
            raise Refused(f"parameter {name!r} is {parameter.dtype}, which cannot be averaged")
    if len({parameter.device for _, parameter in trained}) > 1:
        raise Refused("the model's parameters are on several devices; isthmus needs one per rank")
