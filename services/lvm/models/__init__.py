"""The registry of architectures: every module here is one, named as in `model.json`.

A module defines `Hyperparameters`, a frozen dataclass with the production values as defaults, and
`Model`, a module built from one. `Model` maps unit context directions [B, 5, dimensions], oldest first,
to raw next vectors [B, dimensions]; only the direction of its output means anything. Parameter names are
those of the original's public checkpoints.
"""
