"""A pair of hosts in memory, deterministic from a seed, that drives the real policy, planners and
engine through the ports. `scripts/simulate` runs it; README: the docstrings of the modules."""
