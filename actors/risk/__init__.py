"""RiskActor: may this trade happen, at what size and leverage? Approval reserves in the same step."""
