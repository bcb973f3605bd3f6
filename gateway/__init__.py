"""The gateway: six ports, one per route, that call the stages in turn. Never imports torch or a stage."""
