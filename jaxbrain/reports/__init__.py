"""Tables, figures and pages from saved results alone."""
