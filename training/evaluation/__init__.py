"""How good the estimates, outlines and heatmaps are."""
