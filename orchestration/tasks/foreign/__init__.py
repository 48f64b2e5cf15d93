"""Activities on workers without the extension: their outcome comes back by links, and by the results they store."""
