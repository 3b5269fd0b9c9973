"""The log: spool, loader, dead letters. Acknowledged means durable."""
