"""The Celery side: messages, attempts, the engine that advances runs, the sweep."""
