"""Is the deployment sound, and has every open run something that will move it? See docs/how-to/operate.md."""
