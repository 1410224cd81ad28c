"""MRML in, MRML out: what a scene holds of CTs, points, results and overlays, without Qt."""
