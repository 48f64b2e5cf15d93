"""The sealed, metered Lua world that functions, workflows and processes run in."""
