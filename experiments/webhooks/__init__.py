"""Webhooks: other systems are told what happened, as Standard Webhooks says (github.com/standard-webhooks)."""
