"""How fast every stage is, on this machine, next to what it is compared with, in one run."""
