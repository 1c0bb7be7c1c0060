"""Numbers from saved predictions alone."""
