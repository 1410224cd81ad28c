"""The colour of outlines: the same in views, pages and files."""

from __future__ import annotations

#: Red, green and blue from 0 to 1: neither among the CT's greys nor among the heatmap's colours.
OUTLINE_RGB = (0.18, 0.88, 0.82)
