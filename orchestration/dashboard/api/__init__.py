"""The JSON API: routes that read, routes that act, and their description."""
