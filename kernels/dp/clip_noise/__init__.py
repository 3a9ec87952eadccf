"""Clip a vector to a norm and add Gaussian noise: see format.md."""
