"""The neural parts of a model family that more than one stage runs: encoders and embedding recipes."""
