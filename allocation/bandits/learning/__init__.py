"""Learning: from rows of decisions and what they earned to a policy. Only those who make versions import this."""
