"""Off-policy evaluation of any policy on any log: reading logs, making a policy's probabilities, valuing it."""
