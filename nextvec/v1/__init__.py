"""Stubs generated from `protos/nextvec/v1` by `tools/generate_stubs.py`."""
