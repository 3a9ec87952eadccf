"""Codecs as users name them, rules by parameter, and the segments that come of both. No network."""

from itertools import pairwise

import pytest
from isthmus import _core, codecs
from isthmus.codecs import F32, Bf16, Feedback, Int2, Int4, Int8, Sign, TopK, parse
from isthmus.errors import Refused
from isthmus.packing import Rules, Way, cut, pack


def test_every_name_of_the_table_is_a_codec_and_says_itself() -> None:
    for row in _core.codec_table():
        codec = parse(row["name"])
        assert codec.up == row["name"] == str(codec)
        assert parse(str(codec)) == codec
        assert codec.takes_feedback == row["feedback"]


def test_strings_are_short_for_objects() -> None:
    assert parse("int4") == Int4() and parse("topk-32-int8") == TopK(32, "int8")
    assert [parse(n) for n in ("f32", "bf16", "int8", "int2", "sign", "topk")] == [
        F32(),
        Bf16(),
        Int8(),
        Int2(),
        Sign(),
        TopK(),
    ]
    assert parse(Int4(rounding="stochastic")) == Int4(rounding="stochastic") != Int4()


def test_lossy_sums_come_back_in_eight_bits() -> None:
    assert {parse(n).down for n in ("int8", "int4", "int2", "sign", "topk")} == {"int8"}
    assert (F32().down, Bf16().down) == ("f32", "bf16")
    assert Int4(down="bf16").down == "bf16"


def test_the_text_of_a_codec_tells_it_from_others() -> None:
    made = [Int4(), Int4(down="bf16"), Int4(rounding="stochastic"), Int8(), TopK(32)]
    assert len({str(each) for each in made}) == 5


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: parse("int3"), "codec is 'int3'; expected one of f32, bf16, int8"),
        (lambda: parse(4), "a name or a Codec, not int"),
        (lambda: TopK(65), "codec is 'topk-65-int2'"),
        (lambda: Int4(down="sign"), "cannot come back as 'sign'"),
        (lambda: Int4(down="none"), "codec is 'none'"),
        (lambda: Int4(rounding="up"), "rounding is 'up'"),
        (lambda: codecs.Codec("sign", "int8", "stochastic"), "no stochastic rounding"),
        (lambda: Feedback(dtype="float16"), "dtype is 'float16'"),
        (lambda: Feedback(beta=0.0), "beta is 0.0"),
        (lambda: Feedback(beta=float("nan")), "beta is nan"),
        (lambda: Rules({}), "empty mapping"),
        (lambda: Rules("int4", feedback=1), "feedback is 1"),
        (lambda: Rules("bf16", feedback=Feedback()), "no use with bf16"),
        (lambda: Rules(Int4(rounding="stochastic"), Feedback()), "no use with int4, stochastic"),
        (lambda: Rules({"a": "int4"}).of("b", 2), "no pattern of codec matches parameter 'b'"),
    ],
)
def test_what_cannot_work_is_refused_by_name(make, text) -> None:
    with pytest.raises(Refused, match=text):
        make()


def test_one_codec_is_for_matrices_and_vectors_go_as_bf16() -> None:
    rules = Rules("int4")
    assert rules.of("layer.weight", 2) == Way(Int4(), Feedback())
    assert rules.of("layer.bias", 1) == rules.of("scale", 0) == Way(Bf16())
    assert Rules("f32").of("layer.bias", 1) == Way(F32())


def test_the_first_pattern_that_matches_counts() -> None:
    rules = Rules({"*.embed.*": "int8", "*.weight": Int4(down="bf16"), "*": "bf16"})
    assert rules.of("model.embed.weight", 2).codec == Int8()
    assert rules.of("model.head.weight", 2).codec == Int4(down="bf16")
    assert rules.of("model.head.bias", 1).codec == Bf16()
    assert rules.text == ('{"*.embed.*": "int8", "*.weight": "int4 up, bf16 down", "*": "bf16"}')


def test_feedback_is_kept_where_it_is_of_use() -> None:
    ways = {n: Rules(n).of("w", 2).feedback for n in ("f32", "bf16", "int8", "int4", "topk")}
    assert ways == {"f32": None, "bf16": None, "int8": None, "int4": Feedback(), "topk": Feedback()}
    half = Feedback(dtype="bfloat16", beta=0.95)
    assert Rules("int8", half).of("w", 2).feedback == half
    assert Rules({"a": "int4", "*": "bf16"}, half).of("b", 2).feedback is None
    assert Rules("int4", feedback=False).of("w", 2).feedback is None
    assert Rules(Int4(rounding="stochastic")).of("w", 2).feedback is None


def test_neighbours_that_travel_alike_are_one_segment() -> None:
    four, half = Way(Int4(), Feedback()), Way(Bf16())
    packing = pack([(four, 10), (four, 0), (four, 20), (half, 3), (half, 0), (four, 5)])
    assert packing.table == [("int4", "int8", 30), ("bf16", "bf16", 3), ("int4", "int8", 5)]
    assert packing.elements == 38
    assert packing.offsets == _core.segment_offsets(packing.table)


_matrix, _vector = Way(Int4(), Feedback()), Way(Bf16())


def test_a_bucket_is_cut_in_even_shards_at_whole_blocks() -> None:
    packing = pack([(_vector, 700), (_matrix, 100_000), (_vector, 300)])
    for shards in (1, 2, 3, 7, 16):
        edges = cut(packing, shards)
        assert len(edges) == shards + 1 and (edges[0], edges[-1]) == (0, 101_000)
        assert all((edge - 700) % 4096 == 0 for edge in edges[1:-1])
        sizes = [end - begin for begin, end in pairwise(edges)]
        assert max(sizes) - min(sizes) <= 2 * 4096


def test_what_is_too_small_for_a_cut_is_one_shard() -> None:
    for elements in (1, 100, 4096):
        for shards in (2, 3, 5):
            sizes = [e - b for b, e in pairwise(cut(pack([(_matrix, elements)]), shards))]
            assert sorted(sizes) == [0] * (shards - 1) + [elements]
    assert cut(pack([]), 3) == (0, 0, 0, 0)


def test_the_parts_of_a_packing_are_its_segments_again() -> None:
    packing = pack([(_vector, 10), (_matrix, 9000), (_vector, 5)])
    edges = cut(packing, 3)
    parts = [packing.part(begin, end) for begin, end in pairwise(edges)]
    assert [part.elements for part in parts] == [e - b for b, e in pairwise(edges)]
    again = [(segment.way, segment.elements) for part in parts for segment in part.segments]
    assert pack(again) == packing
    assert packing.part(7, 7).segments == ()
    assert packing.part(0, packing.elements) == packing


def test_a_cut_falls_on_whole_blocks_of_every_codec() -> None:
    for row in _core.codec_table():
        way = Way(parse(row["name"]))
        assert all(edge % row["block"] == 0 for edge in cut(pack([(way, 40_960)]), 4))
