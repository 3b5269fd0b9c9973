"""mabwiser: its learners trained for us, its objects brought in and out. Only those who make versions import this."""
