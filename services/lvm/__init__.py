"""The LVM stage: five vectors to the next one, one model per route."""
