"""Methods to compare with; plain NumPy on the host unless a file says otherwise."""
