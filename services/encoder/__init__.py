"""Texts to raw vectors of the family's space."""
