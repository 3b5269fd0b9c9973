"""A list in, a file out: everybody on a list is decided at one moment, logged, and written into a frozen file."""
