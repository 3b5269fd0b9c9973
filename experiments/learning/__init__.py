"""Policies in a running deployment: rewards joined to decisions, versions made, checked, ramped up and taken back."""
