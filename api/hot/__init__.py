"""The hot paths: raw ASGI handlers with msgspec in and out. Imports numpy at most, never the store."""
