"""The report document, how it is built, kept and rendered."""
