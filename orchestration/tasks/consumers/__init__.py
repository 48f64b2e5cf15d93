"""Queues of the definitions: messages that any Celery or kombu client can send, and the consumers that workers run."""
