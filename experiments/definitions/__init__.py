"""What people write: offers, metrics, layers, holdouts, experiments."""
