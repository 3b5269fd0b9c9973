"""Who may ask: keys at the door, for the hot paths and for Flask, and the sessions of browsers."""
