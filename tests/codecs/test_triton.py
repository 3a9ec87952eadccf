"""The Triton kernels without a device: parity in the interpreter, and what the compiler makes."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from isthmus import _core
from isthmus.kernels import codecs
from isthmus.kernels.codecs import vectors

pytest.importorskip("torch")
triton = pytest.importorskip("triton")

BY_CODEC = pytest.mark.parametrize("codec", codecs.NAMES)
TARGETS = (80, 90, 100)
SIGNATURES = {
    ("f32", "copy_kernel"): {"source": "*i32", "target": "*i32"},
    ("f32", "decode_add_kernel"): {"wire": "*fp32", "total": "*fp32", "weight": "fp32"},
    ("bf16", "encode_kernel"): {"x": "*fp32", "wire": "*i16"},
    ("bf16", "decode_kernel"): {"wire": "*i16", "out": "*fp32"},
    ("bf16", "decode_add_kernel"): {"wire": "*i16", "total": "*fp32", "weight": "fp32"},
}
BY_KERNEL = pytest.mark.parametrize(("codec", "name"), SIGNATURES)


def cases(codec):
    """The vectors, random bits, and lengths around the block of a program."""
    found = [(v.input, v.weight, v.total) for v in vectors.load(codec)]
    rng = np.random.default_rng(7)
    for elements, weight in ((1023, 0.1), (1024, -3.0), (1025, 1 / 3), (2048, 1e-40), (3001, 7.7)):
        words = rng.integers(0, 2**32, elements, dtype=np.uint32)
        found.append((words.view(np.float32), weight, vectors.normal(elements, elements)))
    return found


@BY_CODEC
def test_the_interpreted_kernels_agree_with_the_core_and_the_reference(codec, tmp_path):
    source, target = tmp_path / "cases.npz", tmp_path / "made.npz"
    given = {}
    for i, (x, weight, total) in enumerate(cases(codec)):
        given |= {f"x{i}": x, f"weight{i}": np.float64(weight), f"total{i}": total}
    np.savez(source, **given)
    program = Path(__file__).with_name("interpreted.py")
    paths = os.pathsep.join(path for path in sys.path if path)
    subprocess.run(
        [sys.executable, program, codec, source, target],
        env=os.environ | {"TRITON_INTERPRET": "1", "PYTHONPATH": paths},
        check=True,
    )
    made = np.load(target)
    for i, (x, weight, total) in enumerate(cases(codec)):
        wire = codecs.reference(codec).encode(x)
        assert made[f"wire{i}"].tobytes() == wire.tobytes(), i
        assert made[f"wire{i}"].tobytes() == _core.encode(codec, x).tobytes(), i
        assert made[f"decoded{i}"].tobytes() == _core.decode(codec, wire, x.size).tobytes(), i
        native, expected = total.copy(), total.copy()
        _core.decode_add(codec, wire, weight, native)
        codecs.reference(codec).decode_add(wire, weight, expected)
        assert vectors.same(made[f"sum{i}"], native), i
        assert vectors.same(made[f"sum{i}"], expected), i


def compiled(codec, name, capability, *, aligned=True):
    """The PTX of a kernel, compiled for a device that need not be there."""
    from isthmus.kernels.codecs.triton import BLOCK, OPTIONS
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    kernel = getattr(codecs.device(codec), name)
    signature = SIGNATURES[codec, name] | {"elements": "i32", "BLOCK": "constexpr"}
    attributes = {
        (i,): [["tt.divisibility", 16]]
        for i, kind in enumerate(signature.values())
        if aligned and kind.startswith("*")
    }
    made = triton.compile(
        ASTSource(kernel, signature, constexprs={"BLOCK": BLOCK}, attrs=attributes),
        target=GPUTarget("cuda", capability, 32),
        options=OPTIONS,
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


@BY_KERNEL
@pytest.mark.parametrize("capability", TARGETS)
def test_a_kernel_spills_nothing_and_loads_16_bytes_at_a_time(codec, name, capability, tmp_path):
    ptx = compiled(codec, name, capability)
    registers, spilled = resources(ptx, tmp_path)
    assert spilled == 0
    assert registers <= 64
    assert "ld.global.v4" in ptx
    assert "st.global.v4" in ptx


@pytest.mark.parametrize("fusion", ["0", "1"])
@pytest.mark.parametrize("codec", codecs.NAMES)
def test_a_sum_is_never_fused_and_never_flushes_denormals(codec, fusion, monkeypatch):
    monkeypatch.setenv("TRITON_DEFAULT_FP_FUSION", fusion)
    ptx = compiled(codec, "decode_add_kernel", 90)
    assert "mul" in ptx and "add" in ptx
    assert "fma" not in ptx
    assert ".ftz" not in ptx


def test_unaligned_pointers_are_not_loaded_16_bytes_at_a_time():
    assert "ld.global.v4" not in compiled("bf16", "decode_kernel", 90, aligned=False)


def test_every_kernel_is_among_the_compiled_ones():
    for codec in codecs.NAMES:
        kernels = {name for name in vars(codecs.device(codec)) if name.endswith("_kernel")}
        assert kernels == {name for owner, name in SIGNATURES if owner == codec}


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
