"""Who responds to which offer: models of the effect, how well they rank, and what acting on them is worth."""
