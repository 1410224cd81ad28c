"""The neural networks and the package that they travel in."""
