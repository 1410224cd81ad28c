"""Which slices and which pixels a grade rests on, and how far that may be believed."""
