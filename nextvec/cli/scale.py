"""`nextvec scale`: changes how many processes of a stage run, while the system works."""

import asyncio
from typing import Annotated

import typer

from nextvec.cli import control
from nextvec.cli.deployment import MAX_REPLICAS
from nextvec.cli.output import AsJson, err, out, print_json
from nextvec.errors import InvalidInput
from nextvec.routes import STAGES


def scale(
    stages: Annotated[
        list[str] | None, typer.Argument(help="STAGE=COUNT, such as decoder=5; none to see what runs.")
    ] = None,
    restart: Annotated[
        list[str] | None,
        typer.Option(help="Stage whose processes are restarted one after the other, after scaling."),
    ] = None,
    port_base: Annotated[
        int | None, typer.Option(help="First port of the system's gateway, where several systems run.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Change the number of processes of stages of the system that `nextvec up` runs, losing no request.

    Returns when the new ones serve and those that leave have finished what they had.
    """
    wish = {"scale": counts(stages or []), "restart": [_known(name) for name in restart or []]}
    with err.status("starting and stopping processes"):
        replicas = asyncio.run(control.request(wish, port_base))
    if as_json:
        print_json(replicas)
        return
    for stage, names in replicas.items():
        out.print(f"{stage:<8} {len(names):>2}  {', '.join(names)}", markup=False)


def counts(entries: list[str]) -> dict[str, int]:
    """The numbers of processes that STAGE=COUNT entries ask for; raises InvalidInput."""
    wanted = {}
    for entry in entries:
        name, _, count = entry.partition("=")
        if not count.isdecimal() or not 1 <= int(count) <= MAX_REPLICAS:
            raise InvalidInput(f"{entry!r} must be STAGE=COUNT, the count from 1 to {MAX_REPLICAS}")
        wanted[_known(name)] = int(count)
    return wanted


def _known(name: str) -> str:
    known = [stage.name for stage in STAGES]
    if name not in known:
        raise InvalidInput(f"unknown stage {name!r}; have {', '.join(known)}")
    return name
