"""The store: every key, script and verb of what is kept in Redis; the only folder that imports redis."""
