"""What it means: from moments to decisions. Pure: no I/O, no clock."""
