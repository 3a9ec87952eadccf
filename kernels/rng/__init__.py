"""Random numbers with a counter: the same on every device, for rounding and for noise."""
