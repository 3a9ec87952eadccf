"""The Triton kernels without a device: parity in the interpreter, and what the compiler makes."""

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from isthmus import _core
from isthmus.kernels import codecs
from isthmus.kernels.codecs import vectors
from isthmus.kernels.codecs.reference import Dither, bf16_bits

pytest.importorskip("torch")
triton = pytest.importorskip("triton")

from isthmus.kernels.codecs import rows  # noqa: E402
from isthmus.kernels.codecs.triton import BLOCK, OPTIONS  # noqa: E402
from isthmus.kernels.dp.clip_noise import triton as clip_noise  # noqa: E402

BY_CODEC = pytest.mark.parametrize("codec", codecs.NAMES)
TARGETS = (80, 90, 100)
BETA = 0.95
PLACE = Dither(key=0xFEDCBA9876543210, step=2**32 - 1, bucket=3, stream=1, group=40)


def cases(codec):
    """(x, residual, weight, total): the vectors, random bits, lengths around a program's share."""
    found = [(v.input, np.roll(v.total, 1), v.weight, v.total) for v in vectors.load(codec)]
    rng = np.random.default_rng(7)
    lengths = (4095, 8193) if codec.startswith("topk") else (1023, 1024, 1025, 2048, 3001)
    for elements, weight in zip(lengths, (0.1, -3.0, 1 / 3, 1e-40, 7.7), strict=False):
        words = rng.integers(0, 2**32, elements, dtype=np.uint32).view(np.float32)
        residual = vectors.normal(elements, elements + 1)
        ordinary = rng.standard_normal(elements).astype(np.float32)
        found.append((words, residual, weight, vectors.normal(elements, elements)))
        found.append((ordinary, residual, weight, vectors.normal(elements, elements)))
    return found


def expected(codec, x, residual, weight, total):
    """By the core, which other tests compare with the reference."""
    wire = _core.encode(codec, x)
    sums = total.copy()
    _core.decode_add(codec, wire, weight, sums)
    made = {"wire": wire, "sum": sums, "decoded": _core.decode(codec, wire, x.size)}
    if codecs.feeds(codec):
        halves = bf16_bits(residual)
        for name, now in (("float32", residual), ("bfloat16", halves)):
            left = np.zeros_like(now)
            fed = _core.encode(codec, x, residual=now, next_residual=left, beta=BETA)
            made |= {f"fed {name}": fed, f"left {name}": left, f"in place {name}": left}
    if codecs.dithers(codec):
        place = (PLACE.key, PLACE.step, PLACE.bucket, PLACE.stream, PLACE.group)
        made["dithered"] = _core.encode(codec, x, dither=place)
    return made


def agree(what, mine, theirs):
    """Bit for bit, except that any NaN is any NaN where arithmetic made it."""
    if what in ("wire", "decoded", "dithered") or what.startswith("fed"):
        return mine.tobytes() == theirs.tobytes()
    if mine.dtype == np.float32:
        return vectors.same(mine, theirs)
    mine, theirs = mine.view(np.uint16), theirs.view(np.uint16)
    nans = (mine & 0x7FFF) > 0x7F80
    return (((theirs & 0x7FFF) > 0x7F80) == nans).all() and (mine[~nans] == theirs[~nans]).all()


@pytest.fixture(scope="module")
def interpreted(tmp_path_factory, run_interpreted):
    """A folder with what the interpreted kernels of each codec made of its cases."""
    sources, targets = tmp_path_factory.mktemp("cases"), tmp_path_factory.mktemp("made")
    dither = [PLACE.key, PLACE.group, PLACE.step, PLACE.bucket, PLACE.stream]
    for codec in codecs.NAMES:
        given = {}
        for i, (x, residual, weight, total) in enumerate(cases(codec)):
            given |= {f"{i}/x": x, f"{i}/residual": residual, f"{i}/total": total}
            given |= {f"{i}/weight": np.float64(weight), f"{i}/beta": np.float64(BETA)}
            given[f"{i}/dither"] = np.array(dither, np.uint64)
        np.savez(sources / f"{codec}.npz", **given)
    run_interpreted(Path(__file__).with_name("interpreted.py"), sources, targets)
    return targets


@pytest.mark.timeout(900)  # the first waits for the kernels of all codecs
@BY_CODEC
def test_the_interpreted_kernels_agree_with_the_core(codec, interpreted):
    made = np.load(interpreted / f"{codec}.npz")
    for i, case in enumerate(cases(codec)):
        right = expected(codec, *case)
        assert {key.split("/")[1] for key in made.files if key.startswith(f"{i}/")} == set(right)
        for what, value in right.items():
            assert agree(what, made[f"{i}/{what}"], value), (i, what)


@dataclass(frozen=True)
class Compiled:
    """A kernel with its constants, as one use of it compiles it."""

    kernel: object
    signature: dict[str, str]
    constants: dict[str, object]
    warps: int = 4
    registers: int = 64
    loads: bool = True  # 16 bytes at a time; packed words and places are too few to count
    stores: bool = True  # the same


def flat_uses(name):
    kernels = import_module(f"isthmus.kernels.codecs.{name}.triton")
    wire = "*fp32" if name == "f32" else "*i16"
    block = {"BLOCK": BLOCK}
    if name == "f32":
        copy = {"source": "*i32", "target": "*i32", "elements": "i32"}
        yield "copy", Compiled(kernels.copy_kernel, copy, block)
    else:
        to, back = {"x": "*fp32", "wire": wire}, {"wire": wire, "out": "*fp32"}
        yield "encode", Compiled(kernels.encode_kernel, to | {"elements": "i32"}, block)
        yield "decode", Compiled(kernels.decode_kernel, back | {"elements": "i32"}, block)
    add = {"wire": wire, "total": "*fp32", "weight": "fp32", "elements": "i32"}
    yield "decode_add", Compiled(kernels.decode_add_kernel, add, block)


ENCODE = {"x": "*fp32", "now": "*fp32", "next": "*fp32", "scales": "*i16", "words": "*i32"}
DITHER = {"key": "u64", "group": "i32", "step": "i64", "bucket": "i32", "stream": "i32"}
NOISE = {"factor": "*fp32", "spread": "fp32"} | {f"noise_{k}": v for k, v in DITHER.items()}
DECODE = {"scales": "*i16", "words": "*i32", "target": "*fp32", "weight": "fp32"}


def row_uses(name):
    codec = codecs.device(name)
    for kind, pointer in enumerate(("*fp32", "*fp32", "*i16")):
        signature = ENCODE | {"now": pointer, "next": pointer, "elements": "i32", "beta": "fp32"}
        constants = codec.encode_constants(kind, kind, False, False)
        use = ("encode", "encode, float32 residual", "encode, bfloat16 residual")[kind]
        signature |= DITHER | NOISE
        yield use, Compiled(rows.encode_kernel, signature, constants, stores=kind > 0)
    if codec.dithers:
        signature = ENCODE | {"elements": "i32", "beta": "fp32"} | DITHER | NOISE
        constants = codec.encode_constants(0, 0, True, False)
        use = Compiled(rows.encode_kernel, signature, constants, stores=False)
        yield "encode, stochastic", use
    signature = ENCODE | {"elements": "i32", "beta": "fp32"} | DITHER | NOISE
    constants = codec.encode_constants(1, 1, False, True)
    use = Compiled(rows.encode_kernel, signature, constants, rows.NOISED_WARPS)
    yield "clip, noise, encode", use
    for add in (False, True):
        constants = codec.decode_constants(add=add)
        signature = DECODE | {"elements": "i32"}
        use = Compiled(rows.decode_kernel, signature, constants, loads=add)
        yield "decode_add" if add else "decode", use


def top_uses(name):
    kernels = import_module("isthmus.kernels.codecs.topk.triton")
    codec = codecs.device(name)
    sections = {"scales": "*i16", "places": "*u8", "words": "*i32"}
    for kind, pointer in enumerate(("*fp32", "*fp32", "*i16")):
        signature = {"x": "*fp32", "now": pointer, "next": pointer} | sections
        signature |= {"kept_places": "*i32", "kept_values": "*fp32"}
        signature |= {"elements": "i32", "beta": "fp32"} | NOISE
        constants = codec.encode_constants(kind, kind, False)
        use = ("encode", "encode, float32 residual", "encode, bfloat16 residual")[kind]
        yield use, Compiled(kernels.encode_kernel, signature, constants, 8, 128, True, kind > 0)
    for add in (False, True):
        signature = sections | {"target": "*fp32", "weight": "fp32", "elements": "i32"}
        constants = codec.decode_constants(add=add)
        use = Compiled(kernels.decode_kernel, signature, constants, 8, 128, False, not add)
        yield "decode_add" if add else "decode", use


def noise_uses():
    elements = {"elements": "i32"}
    for squared, kind in ((True, "*fp32"), (False, "*fp64")):
        signature = {"x": kind, "sums": "*fp64"} | elements
        constants = {"SQUARED": squared, "SQUARES": clip_noise.SQUARES}
        use = Compiled(clip_noise.sums_kernel, signature, constants, loads=False, stores=False)
        yield "squares" if squared else "sums", use
    place = {name.removeprefix("noise_"): kind for name, kind in NOISE.items()}
    signature = {"x": "*fp32", "out": "*fp32"} | elements | place
    constants = {"BLOCK": clip_noise.BLOCK}
    yield "both", Compiled(clip_noise.clip_noise_kernel, signature, constants, clip_noise.WARPS)


def uses():
    found = {("clip_noise", use): compiled for use, compiled in noise_uses()}
    for name in codecs.FOLDERS:
        make = {"f32": flat_uses, "bf16": flat_uses, "topk": top_uses}.get(name, row_uses)
        found |= {(name, use): compiled for use, compiled in make(name)}
    largest = "topk-128-int8"
    return found | {(largest, use): compiled for use, compiled in top_uses(largest)}


USES = uses()
BY_USE = pytest.mark.parametrize("use", USES, ids=lambda use: "-".join(use).replace(", ", "-"))


def compiled(use, capability, *, aligned=True):
    """The PTX of a kernel, compiled for a device that need not be there."""
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    one = USES[use]
    signature = one.signature | dict.fromkeys(one.constants, "constexpr")
    attributes = {
        (i,): [["tt.divisibility", 16]]
        for i, kind in enumerate(signature.values())
        if aligned and kind.startswith("*")
    }
    made = triton.compile(
        ASTSource(one.kernel, signature, constexprs=one.constants, attrs=attributes),
        target=GPUTarget("cuda", capability, 32),
        options=OPTIONS | {"num_warps": one.warps},
    )
    return made.asm["ptx"]


def resources(ptx, folder):
    """Registers and spilled bytes, as the assembler of triton's wheel reports them."""
    tools = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"
    assembler = next(path for path in (tools / "ptxas-blackwell", tools / "ptxas") if path.exists())
    source = folder / "kernel.ptx"
    source.write_text(ptx)
    architecture = re.search(r"^\.target (\w+)", ptx, re.MULTILINE).group(1)
    report = subprocess.run(
        [assembler, "-v", "--gpu-name", architecture, source, "-o", folder / "kernel.cubin"],
        capture_output=True,
        text=True,
        check=True,
    ).stderr
    registers = [int(n) for n in re.findall(r"Used (\d+) registers", report)]
    spills = [int(n) for n in re.findall(r"(\d+) bytes spill", report)]
    assert len(registers) == 1 and len(spills) == 2, report
    return registers[0], sum(spills)


@BY_USE
@pytest.mark.parametrize("capability", TARGETS)
def test_a_kernel_spills_nothing_and_loads_16_bytes_at_a_time(use, capability, tmp_path):
    ptx = compiled(use, capability)
    registers, spilled = resources(ptx, tmp_path)
    assert spilled == 0
    assert registers <= USES[use].registers
    if USES[use].loads:
        assert "ld.global.v4" in ptx
    if USES[use].stores:
        assert "st.global.v4" in ptx


@pytest.mark.parametrize("fusion", ["0", "1"])
@BY_CODEC
def test_a_sum_is_never_fused_and_never_flushes_denormals(codec, fusion, monkeypatch):
    monkeypatch.setenv("TRITON_DEFAULT_FP_FUSION", fusion)
    for use in USES:
        if use[0] == codec and use[1] in ("decode_add", "encode, float32 residual"):
            ptx = compiled(use, 90)
            assert "mul" in ptx and "add" in ptx
            assert "fma" not in ptx
            assert ".ftz" not in ptx


def test_unaligned_pointers_are_not_loaded_16_bytes_at_a_time():
    assert "ld.global.v4" not in compiled(("bf16", "decode"), 90, aligned=False)


def test_bad_tensors_are_refused_before_a_launch():
    import torch

    kernels = codecs.device("bf16")
    x = torch.zeros(8)
    wire = torch.zeros(17, dtype=torch.uint8)
    with pytest.raises(TypeError, match=r"x must be torch\.float32"):
        kernels.encode(x.double())
    with pytest.raises(ValueError, match="x must be contiguous"):
        kernels.encode(x[::2])
    with pytest.raises(ValueError, match="wire must have 16 elements, not 17"):
        kernels.decode(wire, 8)
    with pytest.raises(ValueError, match="wire must begin at a multiple of 2 bytes"):
        kernels.decode(wire[1:], 8)
    with pytest.raises(ValueError, match="wire must have 16 elements, not 12"):
        kernels.decode_add(wire[:12], 1.0, x)
    with pytest.raises(TypeError, match=r"total must be torch\.float32"):
        kernels.decode_add(wire[:16], 1.0, x.half())


def test_the_codecs_import_without_torch_and_triton():
    program = (
        "import sys; sys.modules.update(torch=None, triton=None);"
        "from isthmus.kernels.codecs import NAMES, reference, vectors;"
        "assert [vectors.differences(name) for name in NAMES] == [[] for _ in NAMES]"
    )
    paths = os.pathsep.join(path for path in sys.path if path)
    subprocess.run(
        [sys.executable, "-c", program], env=os.environ | {"PYTHONPATH": paths}, check=True
    )
