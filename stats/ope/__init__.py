"""Off-policy evaluation: what another policy would have earned on logged decisions, and how sure that is."""
