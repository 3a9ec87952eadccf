"""topk: the elements of largest magnitude of every 4096, in two or eight bits."""
