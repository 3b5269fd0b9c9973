"""Ready beginnings for an industry: stage rule, offers, metrics and a first experiment."""
