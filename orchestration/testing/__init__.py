"""Help for tests of workflows."""
