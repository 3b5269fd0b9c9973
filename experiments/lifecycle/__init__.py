"""An experiment's states and phases, and the moves between them."""
