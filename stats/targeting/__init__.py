"""Who gets which offer within a budget, stocks and floors."""
