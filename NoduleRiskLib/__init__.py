"""NoduleRiskLib: nine LIDC grades and a heatmap for each lung nodule that a point marks on a chest CT.

``from NoduleRiskLib.assessor import Assessor`` is the way in. Nothing heavy is imported here, so that
the 3D Slicer module can load without torch.
"""

__version__ = "0.1.0"
