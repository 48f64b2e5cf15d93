"""Processes in long-running workers: who runs when, who hears of whose end, and how messages find their way."""
