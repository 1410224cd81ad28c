"""Assessments as DICOM: structured report, segmentation and parametric map."""
