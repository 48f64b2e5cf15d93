"""Purchases that have to be approved."""
