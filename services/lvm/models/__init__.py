"""The registry of architectures: every module here is one, named as in `model.json`.

A module defines `Hyperparameters`, a frozen dataclass with the production values as defaults, and
`Model`, a module built from one. `Model` maps unit context directions [B, 5, dimensions], oldest first,
to raw next vectors [B, dimensions]; only the direction of its output means anything. Parameter names are
those of the original's public checkpoints.

Elements of a unit vector are about 1/sqrt(dimensions), so small that a new network's first layer hardly
sees them and one step of its last layer overshoots them. Hyper-parameter `scale` multiplies what is read,
and training asks for targets of that norm: sqrt(dimensions) gives elements of unit variance, 1 the
original's networks. It adds no parameter.
"""
