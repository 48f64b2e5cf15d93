"""Tests of the package; see docs/glossary.md for the words they use."""
