"""Policies that learn: from attributes to a vector of probabilities, and the draw from exactly that vector."""
