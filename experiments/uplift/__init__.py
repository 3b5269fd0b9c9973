"""From the rows of a randomised experiment to a recommendation: who should get which offer."""
