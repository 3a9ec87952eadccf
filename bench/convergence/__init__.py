"""Does it train? Loss at equal tokens for every codec: see run.py."""
