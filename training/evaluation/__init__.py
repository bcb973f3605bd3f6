"""How good every stage is, next to simple baselines."""
