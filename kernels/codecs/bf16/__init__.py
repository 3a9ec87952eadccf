"""bf16: the upper half of each float32, rounded to nearest even."""
