"""`python -m tests.chaos [--short] [--out FILE] [SCENARIO ...]`: breaks systems, and shows what it cost.

Prints a table and writes the figures as JSON, a list of {name, value, bar, passed, ...}; where a scenario
could not be carried out, its bars are in the list without a value, as missed. Ends with 1 where any is. The
short form holds figures of speed to no bar.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks import machine
from benchmarks.results import Result, missed, shown, unmeasured
from tests.chaos.bars import BARS, without_speed
from tests.chaos.scenarios import BROKEN, HURRIED, MEASURED, SMALL_CACHE, Scenario
from tests.chaos.stand import Stand, standing

_COLOURS = {"pass": "[green]pass[/]", "fail": "[red]fail[/]", "": ""}

err = Console(stderr=True)


async def measure(wanted: Sequence[str], *, short: bool) -> tuple[list[Result], list[str]]:
    """Figures of the scenarios, all where none is `wanted` by name, and the names of those that broke off."""
    results: list[Result] = []
    broken: list[str] = []

    async def run(scenario: Scenario, stand: Stand) -> None:
        started = time.monotonic()
        try:
            found = await scenario(stand)
        except Exception:
            traceback.print_exc()
            broken.append(scenario.__name__)
            return
        results.extend(found)
        told = ", ".join(f"{result.name} {shown(result)[0]}" for result in found)
        err.print(f"[dim]{time.monotonic() - started:6.1f} s[/] {scenario.__name__}: {told}", soft_wrap=True)

    def chosen(scenarios: Sequence[Scenario]) -> list[Scenario]:
        return [scenario for scenario in scenarios if not wanted or scenario.__name__ in wanted]

    patient = chosen((*BROKEN, *MEASURED))
    if patient:
        with tempfile.TemporaryDirectory(prefix="nextvec-chaos-") as folder:
            async with standing(Path(folder), short=short, environment=SMALL_CACHE) as stand:
                for scenario in patient:
                    await run(scenario, stand)
    for scenario in chosen(HURRIED):
        with tempfile.TemporaryDirectory(prefix="nextvec-chaos-") as folder:
            async with standing(Path(folder), short=short, patient=False) as stand:
                await run(scenario, stand)
    return results, broken


def main() -> int:
    """Measures, shows, writes; the exit code."""
    names = [scenario.__name__ for scenario in (*BROKEN, *MEASURED, *HURRIED)]
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description="Break systems under load.")
    parser.add_argument(
        "scenarios", nargs="*", metavar="SCENARIO", help=f"of {', '.join(names)}; all if none"
    )
    parser.add_argument(
        "--short", action="store_true", help="see that all works; bars of speed are not judged"
    )
    parser.add_argument("--out", type=Path, help="file for the figures as JSON")
    arguments = parser.parse_args()
    if unknown := set(arguments.scenarios) - set(names):
        parser.error(f"unknown scenario {', '.join(sorted(unknown))}; have {', '.join(names)}")
    results, broken = asyncio.run(measure(arguments.scenarios, short=arguments.short))
    if not arguments.scenarios:
        results += map(missed, unmeasured(BARS.values(), results))
    if arguments.short:
        results = without_speed(results)
    table = Table("what", "value", "bar", "")
    for result in results:
        value, _, bar, verdict = shown(result)
        table.add_row(result.what, value, bar, _COLOURS[verdict])
    console = Console()
    console.print(", ".join(f"{name} {value}" for name, value in machine.description().items()), style="dim")
    console.print(table)
    if arguments.out:
        records = [result.as_dict() for result in results]
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(json.dumps(records, indent=2) + "\n", encoding="utf-8")
    for name in broken:
        err.print(f"[red]broke off[/] {name}")
    return int(bool(broken) or any(result.passed is False for result in results))


if __name__ == "__main__":
    sys.exit(main())
