"""Who gets what: hashing, audiences, layers, decisions. Pure: no I/O, no clock, no global randomness."""
