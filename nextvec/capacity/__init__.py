"""How many replicas of each process a load needs: a queueing model, checked by simulation."""
