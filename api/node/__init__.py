"""One serving process: what it decides from, what it remembers, and where what it says is written."""
