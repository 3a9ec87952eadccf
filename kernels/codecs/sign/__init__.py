"""sign: one bit an element, the mean magnitude of every 128."""
