"""What the whole programme earns: measured against the holdout, and foreseen from early outcomes."""
