"""Runs in a work directory: everything that writes files."""
