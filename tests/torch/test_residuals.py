"""Residuals by themselves: two gateways of a site whose buckets are cut anew. No processes."""

from dataclasses import dataclass
from types import SimpleNamespace

import pytest
import torch
from isthmus.errors import Refused
from isthmus.hook.layout import Contents, Layout
from isthmus.hook.residuals import Residuals
from isthmus.hook.shards import Shards
from isthmus.packing import Rules
from torch import nn

_rules = Rules("int4")


@dataclass
class _Rank:
    shards: Shards
    residuals: Residuals
    rank: int


def _layout() -> Layout:
    module = nn.Sequential(nn.Linear(100, 200), nn.Linear(50, 300), nn.Linear(10, 10))
    model = SimpleNamespace(
        module=module,
        bucket_bytes_cap=1,
        find_unused_parameters=False,
        static_graph=False,
    )
    return Layout(model)  # type: ignore[arg-type]


def _site(layout: Layout, rails: int, ranks: int = 2) -> list[_Rank]:
    ways = layout.ways_by(_rules)
    shards = Shards(layout, ways, rails)
    return [
        _Rank(shards, Residuals(layout, ways, shards, rank=rank, ranks=ranks), rank)
        for rank in range(ranks)
    ]


def _elements(layout: Layout, contents: Contents) -> int:
    return sum(layout.parameters[i].numel() for i in contents.parameters)


def _step(
    layout: Layout, site: list[_Rank], contents: Contents, left: torch.Tensor | None, *, well: bool
) -> torch.Tensor:
    """A step whose gradients are all zero. left: what its rounding leaves, of the whole bucket.

    Returns what the encoders are given: the gradients' mean in the site, and the residuals.
    """
    buckets = [torch.zeros(_elements(layout, contents)) for _ in site]
    for each, bucket in zip(site, buckets, strict=True):
        each.residuals.send_strays(contents, bucket)
    given = sum(buckets) / len(site)
    for each in site:
        cut = each.shards.of(contents)
        begin, end = cut.bounds(each.rank)
        if begin == end:
            continue
        packing, memory = each.residuals.memory_for(contents)
        at = begin
        for segment, now, after in zip(packing.segments, memory.now, memory.next, strict=True):
            if now is not None and after is not None:
                given[at : at + segment.elements] += now
                after.copy_(torch.zeros(1) if left is None else left[at : at + segment.elements])
            at += segment.elements
    for each in site:
        each.residuals.end_step(well=well)
    return given


def _exact(layout: Layout, contents: Contents) -> torch.Tensor:
    """Small whole numbers, whose sums are exact; 0 where nothing is fed back."""
    parts = [
        torch.randint(-50, 50, (layout.parameters[i].numel(),)).float()
        * (layout.parameters[i].dim() > 1)
        for i in contents.parameters
    ]
    return torch.cat(parts)


def _reordered(
    layout: Layout, values: torch.Tensor, one: Contents, other: Contents
) -> torch.Tensor:
    sizes = [layout.parameters[i].numel() for i in one.parameters]
    by_parameter = dict(zip(one.parameters, values.split(sizes), strict=True))
    return torch.cat([by_parameter[i] for i in other.parameters])


_forward, _backward = Contents(1, (0, 1, 2, 3, 4, 5)), Contents(2, (5, 4, 3, 2, 1, 0))


@pytest.mark.parametrize("bad_steps", [0, 2])
@pytest.mark.parametrize(("rails", "ranks"), [(1, 2), (2, 2), (2, 3), (3, 3)])
def test_a_new_order_of_the_bucket_loses_nothing(rails: int, ranks: int, bad_steps: int) -> None:
    torch.manual_seed(rails)
    layout = _layout()
    site = _site(layout, rails, ranks)
    owed = _exact(layout, _forward)
    _step(layout, site, _forward, owed, well=True)
    expected = _reordered(layout, owed, _forward, _backward)
    noise = _exact(layout, _backward)
    for _ in range(bad_steps):  # what a bad step leaves does not count, and it uses up nothing
        assert torch.equal(_step(layout, site, _backward, noise, well=False), expected)
    assert torch.equal(_step(layout, site, _backward, noise, well=True), expected)
    assert torch.equal(_step(layout, site, _backward, None, well=True), noise)
    assert not _step(layout, site, _backward, None, well=True).any()


@pytest.mark.parametrize(("before", "after"), [(1, 2), (2, 1), (3, 2)])
def test_a_checkpoint_of_other_rails_loses_nothing(before: int, after: int) -> None:
    torch.manual_seed(before)
    layout = _layout()
    site = _site(layout, before, 3)
    owed = _exact(layout, _forward)
    _step(layout, site, _forward, owed, well=True)
    again = _site(layout, after, 3)
    for old, new in zip(site, again, strict=True):
        new.residuals.load(old.residuals.state())
        assert new.residuals.state().keys() == old.residuals.state().keys()
    expected = _reordered(layout, owed, _forward, _backward)
    assert torch.equal(_step(layout, again, _backward, None, well=True), expected)
    assert not _step(layout, again, _backward, None, well=True).any()


def test_a_part_is_saved_under_its_bounds_and_a_whole_in_its_shape() -> None:
    layout = _layout()
    first, second = _site(layout, 2)
    _step(layout, [first, second], _forward, None, well=True)
    (edge,) = first.shards.of(_forward).edges[1:-1]
    assert 0 < edge < 20_000
    assert {k: tuple(v.shape) for k, v in first.residuals.state().items()} == {
        f"0.weight[0:{edge}]": (edge,)
    }
    assert {k: tuple(v.shape) for k, v in second.residuals.state().items()} == {
        f"0.weight[{edge}:20000]": (20_000 - edge,),
        "1.weight": (300, 50),
        "2.weight": (10, 10),
    }


@pytest.mark.parametrize(
    ("key", "shape", "text"),
    [
        ("nobody", (3,), "a residual of 'nobody', the model no parameter"),
        ("nobody[0:3]", (3,), "a residual of 'nobody', the model no parameter"),
        ("0.weight", (3,), "'0.weight' is not of the shape"),
        ("0.weight[0:3]", (4,), "is not of the shape"),
        ("0.weight[19999:20001]", (2,), "ends behind the parameter's end"),
        ("0.weight[3:1]", (2,), "is not of the shape"),
    ],
)
def test_a_part_that_does_not_fit_is_refused_and_nothing_changes(
    key: str, shape: tuple[int, ...], text: str
) -> None:
    layout = _layout()
    site = _site(layout, 2)
    owed = _exact(layout, _forward)
    _step(layout, site, _forward, owed, well=True)
    with pytest.raises(Refused, match=text):
        site[0].residuals.load({key: torch.zeros(shape)})
    assert torch.equal(_step(layout, site, _forward, None, well=True), owed)
