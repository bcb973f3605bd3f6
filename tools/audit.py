"""Asks the advisory service about every package of requirements.lock: `python tools/audit.py`.

Exits with 1 where a package has a known vulnerability that is not accepted below. Where the service cannot
be reached, or knows none of the packages, it says that nothing was audited and exits with 0: a machine
without a network can still check everything else.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

LOCK = Path(__file__).resolve().parent.parent / "requirements.lock"

ACCEPTED: dict[str, str] = {}
"""Advisories that are known and left, by id, each with its reason and who is concerned."""

_SECONDS = 600


def audit(run: Any = subprocess.run) -> tuple[int, list[str]]:
    """Exit code and lines to print. `run` is called as `subprocess.run` is."""
    ignores = [word for advisory in ACCEPTED for word in ("--ignore-vuln", advisory)]
    command = [
        *(sys.executable, "-m", "pip_audit", "--requirement", str(LOCK), "--no-deps", "--disable-pip"),
        *("--format", "json", "--progress-spinner", "off", "--timeout", "15", *ignores),
    ]
    try:
        done = run(command, capture_output=True, text=True, timeout=_SECONDS)
    except subprocess.TimeoutExpired:
        return 0, [f"NOT AUDITED: the advisory service did not answer within {_SECONDS} s"]
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        if "No module named pip_audit" in last:
            return 2, ["pip-audit is not installed; run make check, which installs it"]
        return 0, [f"NOT AUDITED: the advisory service cannot be reached: {last[:200]}"]
    return _verdict(packages)


def _verdict(packages: Sequence[dict[str, Any]]) -> tuple[int, list[str]]:
    known = [package for package in packages if "skip_reason" not in package]
    skipped = len(packages) - len(known)
    if not known:
        return 0, [f"NOT AUDITED: the advisory service knows none of the {len(packages)} packages"]
    lines = [
        f"{package['name']} {package['version']}: {vulnerability['id']}, "
        f"fixed in {', '.join(vulnerability['fix_versions']) or 'no version yet'}"
        for package in known
        for vulnerability in package.get("vulns", [])
    ]
    summary = f"{len(known)} packages audited, {len(lines)} vulnerabilities"
    if skipped:
        summary += f"; NOT AUDITED: {skipped} that the service does not know"
    return int(bool(lines)), [*lines, summary]


if __name__ == "__main__":
    code, said = audit()
    print("\n".join(said))
    sys.exit(code)
