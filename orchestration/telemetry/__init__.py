"""What outsiders see of the engine: traces, metrics, events of Celery's monitors, and words to those on call.

Nothing here decides anything, and nothing here may stop a run: what fails is logged and left.
"""
