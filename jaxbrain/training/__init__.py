"""Pure training: steps, whole trainings, many at once, on one device or several."""
