"""The simulated shop: 20,000 members, eight weeks of orders and offers, six experiments. Nobody here is real.

- `shop` makes the members and what they would do anyway,
- `story` says what each offer truly does to them,
- `definitions` are the documents a growth team would have written,
- `fill` runs the campaigns through the service's own deciding and writes what happened into the log.
"""
