"""The CUDA encoders without a device: they compile for all targets, spill nothing, load widely."""

import re
import subprocess
from pathlib import Path

import pytest
from isthmus.kernels.codecs import cuda

pytestmark = pytest.mark.skipif(cuda.compiler() is None, reason="no nvcc here")

REGISTERS = {"int4": 64, "topk": 128}


@pytest.mark.parametrize("capability", [80, 90, 100])
@pytest.mark.parametrize("codec", cuda.CODECS)
def test_a_cuda_file_spills_nothing_and_loads_16_bytes_at_a_time(
    codec: str, capability: int, tmp_path: Path
) -> None:
    arch = f"-arch=sm_{capability}"
    line = ["nvcc", *cuda.FLAGS, arch, "--keep", "--keep-dir", str(tmp_path), "-Xptxas", "-v"]
    line += ["-cubin", "-o", str(tmp_path / "x.cubin"), str(cuda.source(codec))]
    report = subprocess.run(line, check=True, capture_output=True, text=True).stderr
    registers = [int(n) for n in re.findall(r"Used (\d+) registers", report)]
    spills = [int(n) for n in re.findall(r"(\d+) bytes spill", report)]
    assert len(registers) == 3, report  # no residual, float32, bfloat16
    assert len(spills) == 6 and not any(spills), report
    assert max(registers) <= REGISTERS[codec]
    ptx = next(tmp_path.glob("*.ptx")).read_text()
    kernels = [part for part in ptx.split(".visible .entry")[1:]] or ptx.split(".entry")[1:]
    assert len(kernels) == 3
    assert all("ld.global.v4" in kernel for kernel in kernels)
    assert "fma.rn.f32" not in ptx and ".ftz" not in ptx


def test_without_a_device_a_call_is_an_error_and_no_crash(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("bench/gpu.py runs them on the device that is here")
    module = cuda.build(tmp_path, "sm_90")
    for codec in cuda.CODECS:
        encoder = cuda.Encoder(module, codec)
        assert encoder.call(0, 0, 0, 0, 0, 4096, 1.0, 0) != 0
        assert encoder.call(0, 0, 0, 0, 0, 0, 1.0, 0) == 0  # nothing to do
        assert encoder.call(0, 0, 0, 9, 0, 4096, 1.0, 0) != 0
