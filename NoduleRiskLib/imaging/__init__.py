"""What a CT holds and where it lies: reading it, sampling it, outlines drawn on it."""
