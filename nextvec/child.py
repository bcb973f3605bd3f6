"""Runs a module as a process that ends with its parent: `python -m nextvec.child MODULE`.

A parent that is killed cannot stop its children; they would keep their ports.
"""

import ctypes
import runpy
import signal
import sys

_PR_SET_PDEATHSIG = 1  # from <sys/prctl.h>


def main(module: str) -> None:
    """Becomes `python -m module`; where the system cannot signal the parent's death, without that."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    sys.argv = [module]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(sys.argv[1])
