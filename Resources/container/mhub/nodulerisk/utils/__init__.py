from .NoduleRiskRunner import NoduleRiskRunner as NoduleRiskRunner
