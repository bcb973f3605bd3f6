"""Vectors to text: a first hypothesis, corrections, checks, and a quotation where nothing passes."""
