"""Arithmetic: everything that touches numbers, for every device. Needs NumPy alone."""
