"""The report of an experiment whose policy learns: what it earns more than not having it, and whether to trust it."""
