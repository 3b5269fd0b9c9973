"""Simulations behind the claims of docs/statistics.md: ``python -m bench.simulations [NAME …]`` prints their tables.

A module here is one subject: ``run(runs, seed)`` returns its figures, each with its error and the goal it is held to.
The slow tests call the same functions; ``--write`` renews docs/simulations.md.
"""
