"""Every guard and every write of the Redis scripts is held by a test: taken out, one by one, some test has to fail.

``python -m tests.mutants`` says which are not; the names of scripts as arguments limit it to those.
"""
