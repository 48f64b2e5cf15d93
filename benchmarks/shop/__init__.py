"""An existing Celery project, as a team might have it."""
