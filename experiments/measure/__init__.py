"""From rows to moments: who is counted, what is measured, and one query that sums it where the rows lie."""
