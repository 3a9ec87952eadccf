"""Rows as benches would keep them, for tests of what becomes of them."""

from isthmus.bench.rows import Coding, Railed, Row, Scaling, Timing, Training

TIMING = Timing(
    bench="wan",
    case="100 MB, 4 sites, 100 ms",
    codec="f32",
    bytes=100_000_000,
    ranks=4,
    floor_s=1.25,
    isthmus_s=1.35,
    peers={"gloo": 9.09},
    cpu_s_per_gb={"isthmus": 1.2, "gloo": 0.85},
    samples=5,
)
CODING = Coding(
    codec="int4",
    implementation="avx512",
    operation="encode",
    elements=1024,
    gb_per_s=10.0,
    memcpy_gb_per_s=12.5,
    of_memcpy=0.8,
)
TRAINING = Training(
    case="3 sites, 80 ms, 100 Mbit/s",
    way="isthmus int4",
    tokens_per_s=1200.0,
    floor_s=0.9,
    step_s=1.6,
    compute_s=0.9,
    waiting_s=0.7,
    cpu_s=0.45,
    hidden_share=0.35,
    wan_bytes=3e7,
    loss=7.5,
    peers={"gloo": 328.0, "alone": 2290.0},
    samples=6,
)
SCALING = Scaling(
    codec="int4",
    sites=16,
    gbit_per_s=10.0,
    rtt_ms=80.0,
    parameters=8e9,
    scale=5086.0,
    floor_s=9.2,
    isthmus_s=9.6,
)
RAILED = Railed(
    case="100 MB, 2 sites of 2+2 ranks",
    codec="int4",
    rails=2,
    step_s=0.42,
    one_rail_s=0.56,
    cpu_s=0.77,
    samples=15,
)
ROWS: list[Row] = [TIMING, CODING, TRAINING, SCALING, RAILED]
