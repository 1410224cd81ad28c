"""The panel in 3D Slicer, part by part: the one wing that knows Qt. ``NoduleRisk/NoduleRisk.py`` puts it together."""
