"""Web frameworks: what each needs to start, show and steer workflows from inside its own conventions."""
