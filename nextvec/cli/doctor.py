"""`nextvec doctor`: is everything there that the system needs, and what to do about what is not."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from nextvec.cli.exits import FOUND_WRONG
from nextvec.cli.layout import artifacts_folder
from nextvec.cli.output import AsJson, err, out, print_json
from nextvec.errors import NotFound
from nextvec.routes import STAGES

if TYPE_CHECKING:
    from nextvec.cli.checks import Finding

PARTS = (*(stage.name for stage in STAGES), "gateway")
"""What can be checked alone: a machine that runs only the gateway needs nothing else."""


def doctor(
    part: Annotated[
        list[str] | None, typer.Option(help=f"Check only this part: {', '.join(PARTS)}. Can be repeated.")
    ] = None,
    family: Annotated[str, typer.Option(help="Model family.")] = "mini",
    artifacts: Annotated[Path | None, typer.Option(help="Folder with families and models.")] = None,
    redis_url: Annotated[
        str | None, typer.Option(help="Redis to reach; without, the one of NEXTVEC_REDIS_URL.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check versions, weights, models, bank, ports and Redis, and say what to do.

    Exits with 1 when anything is wrong.
    """
    from nextvec.cli.checks import check_all

    parts = part or list(PARTS)
    if unknown := set(parts) - set(PARTS):
        raise NotFound(f"unknown part {min(unknown)!r}; have {', '.join(PARTS)}")
    findings = []
    with err.status("looking"):
        for finding in check_all(parts, family, artifacts or artifacts_folder(), redis_url):
            findings.append(finding)
            if not as_json:
                _show(finding)
    problems = [finding for finding in findings if not finding.ok]
    if as_json:
        records = [
            {"part": f.part, "check": f.check, "ok": f.ok, "found": f.found, "remedy": f.remedy}
            for f in findings
        ]
        print_json({"ok": not problems, "findings": records})
    else:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        out.print("[green]all is well[/]" if not problems else f"[red]{count}[/]")
    if problems:
        raise typer.Exit(FOUND_WRONG)


def _show(finding: "Finding") -> None:
    mark = "[green]ok[/]     " if finding.ok else "[red]problem[/]"
    out.print(f"{mark} {finding.part:<8} {finding.check:<22} {escape(finding.found)}", soft_wrap=True)
    if finding.remedy:
        out.print(f"        [yellow]do:[/] {escape(finding.remedy)}", soft_wrap=True)
