"""What an offer earned: incremental profit, return on what it cost, and what went to sure buyers."""
