"""API keys: how they read, where they are kept, and what travels of them."""
