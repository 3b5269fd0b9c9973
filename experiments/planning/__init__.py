"""Planning an experiment: baselines from a file, from numbers or from the own log; units, weeks, break-even."""
