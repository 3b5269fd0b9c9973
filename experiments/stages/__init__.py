"""The lifecycle of members, computed from their orders: stages, RFM, value, and who moves where."""
