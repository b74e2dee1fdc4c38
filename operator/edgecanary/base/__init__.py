"""Errors, time and quantities. Standard library only."""
