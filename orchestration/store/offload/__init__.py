"""The claim check: items too large for the store are kept in a stage, and a small stand-in refers to them."""
