"""soak: sites that train under random faults, started again when they end, and their judge.

`isthmus bench chaos` runs it (docs/chaos.md). Pure: plan (which fault when), records (what sites
noted), judge (what must be true of it). The rest starts processes.
"""
