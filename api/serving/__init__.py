"""The processes of a host: a supervisor, an upkeep process, and those that answer."""
