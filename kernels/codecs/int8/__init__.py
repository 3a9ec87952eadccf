"""int8: integers of one scale for every 128 elements."""
