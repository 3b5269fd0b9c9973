"""The domain: what an experiment is, where it is kept, what happened, what the report says."""
