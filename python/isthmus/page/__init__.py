"""page: reports as one HTML file each, with their plots inside: no server, no network, no script.

Everything here is a pure function from values to text; the demo and the benches decide what to say.
"""
