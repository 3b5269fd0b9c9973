"""From a recommendation to action: a frozen audience within a budget, a segment, and the draft of the test of it."""
