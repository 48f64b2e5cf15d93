"""The shop behind the examples: ordinary Celery tasks over a small ledger, and the demonstration that runs them."""
