"""MRML in, MRML out: the one wing that imports slicer."""
