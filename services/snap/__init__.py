"""The snap stage: a predicted vector onto the region where real text lives."""
