"""`nextvec models`: the registry of models; what each was trained on, and which one answers each route."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from nextvec.cli.exits import FOUND_WRONG, say
from nextvec.cli.layout import artifacts_folder
from nextvec.cli.output import AsJson, err, out, print_json
from nextvec.errors import InvalidInput

if TYPE_CHECKING:
    from services.lvm.originals import Provenance

app = typer.Typer(
    help="Models: what they were trained on, which one answers each route.", no_args_is_help=True
)

PAGE = Path("docs") / "MODEL_TRAINING_DATA.md"

Artifacts = Annotated[Path | None, typer.Option(help="Folder with families and models.")]
FamilyName = Annotated[str, typer.Option("--family", help="Model family that is served.")]
RouteName = Annotated[str, typer.Argument(help="Route, such as amn.")]
LocalPart = Annotated[
    Path | None,
    typer.Option(exists=True, file_okay=False, help="Local copy of the public repository; no network then."),
]


@app.command("list")
def list_models(artifacts: Artifacts = None, as_json: AsJson = False) -> None:
    """List all models with the routes they answer, and the families' inverters and correctors."""
    from nextvec.cli.model_records import all_records, table

    records, problems = all_records(artifacts or artifacts_folder())
    if as_json:
        print_json(records)
    elif records:
        out.print(table(records))
    else:
        out.print("no models yet; `nextvec train` makes them, `nextvec models register` takes them in")
    for problem in problems:
        say(problem)
    if problems:
        raise typer.Exit(FOUND_WRONG)


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="Model, link, route, or a part such as mini/inverter.")],
    artifacts: Artifacts = None,
    as_json: AsJson = False,
) -> None:
    """Show a model's whole card: training data, configuration, metrics, known issues, and its promotions."""
    from nextvec.cli.model_records import card_table, one_record

    record = one_record(artifacts or artifacts_folder(), name)
    if as_json:
        print_json(record)
        return
    out.print(card_table(record))


@app.command()
def register(
    folder: Annotated[
        Path, typer.Argument(exists=True, file_okay=False, help="Folder of a model made elsewhere.")
    ],
    artifacts: Artifacts = None,
    as_json: AsJson = False,
) -> None:
    """Take in a model made elsewhere: model.safetensors, probe.safetensors, model.json.

    Refused without training data, configuration, metrics and known issues on its card ("none known" where
    there are none), or when it does not reproduce its golden probe.
    """
    from services.lvm.intake import register as take_in

    with err.status("loading the model"):
        taken = take_in(folder, _models(artifacts))
    _tell({"name": taken.name, "folder": str(taken)}, f"{taken}: registered", as_json)


@app.command()
def promote(
    name: Annotated[str, typer.Argument(help="Model to promote.")],
    route: RouteName,
    family: FamilyName = "mini",
    artifacts: Artifacts = None,
    as_json: AsJson = False,
) -> None:
    """Have a route answered by a model. Running servers take it up without failing a request.

    The model is loaded first, and refused if it is broken, of another architecture than the route's, or of
    another space than the family's. The one before stays, for `rollback`.
    """
    from services.lvm import checkpoint, registry

    models, space = _models(artifacts), _space(family, artifacts)
    folder = registry.named(models, name)
    with err.status("loading the model"):
        checkpoint.load(folder, space)
    before = registry.routes_of(models)
    registry.promote(folder, route, space)
    _tell_exchange(route, folder, before, as_json)


@app.command()
def rollback(
    route: RouteName,
    family: FamilyName = "mini",
    artifacts: Artifacts = None,
    as_json: AsJson = False,
) -> None:
    """Have a route answered again by the model before; repeated, it goes back promotion by promotion."""
    from services.lvm import checkpoint, registry

    models, space = _models(artifacts), _space(family, artifacts)
    with err.status("loading the model"):
        checkpoint.load(registry.before(models, route), space)
    before = registry.routes_of(models)
    folder = registry.rollback(models, route, space)
    _tell_exchange(route, folder, before, as_json)


@app.command("import")
def import_checkpoint(
    checkpoint: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, help="The original's torch.save file, .pt.")
    ],
    family: Annotated[str, typer.Option(help="Family in whose vector space the model was trained.")],
    route: Annotated[str | None, typer.Option(help="Route whose architecture the model has.")] = None,
    architecture: Annotated[str | None, typer.Option(help="Architecture, instead of a route.")] = None,
    trained_on: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            help="JSON file with trained_on, known_issues and more, for many sources.",
        ),
    ] = None,
    source: Annotated[str, typer.Option(help="What it was trained on.")] = "",
    licence: Annotated[str, typer.Option(help="Licence of that.")] = "",
    documents: Annotated[int, typer.Option(min=0, help="Number of documents.")] = 0,
    chunks: Annotated[int, typer.Option(min=0, help="Number of chunks.")] = 0,
    windows: Annotated[int, typer.Option(min=0, help="Pairs of context and target, if known.")] = 0,
    known_issue: Annotated[
        list[str] | None, typer.Option(help="Goes into the card; repeatable; 'none known' for none.")
    ] = None,
    probe: Annotated[
        Path | None,
        typer.Option(
            exists=True, dir_okay=False, help="Safetensors with context and expected, to reproduce."
        ),
    ] = None,
    artifacts: Artifacts = None,
    as_json: AsJson = False,
) -> None:
    """Import a checkpoint of the original system: weights and numbers only, never code.

    Refused when it names another architecture, does not load strictly, or does not reproduce its probe; where
    there is no probe, in the file or by --probe, the card says so among the known issues. Metrics in the file
    are recorded as its claims. It answers no route before it is promoted.
    """
    from services.lvm.originals import import_original
    from services.lvm.registry import ARCHITECTURE_OF

    if (route is None) == (architecture is None):
        raise InvalidInput("give one of --route and --architecture")
    if route is not None and route not in ARCHITECTURE_OF:
        raise InvalidInput(f"--route is {route!r}; must be one of {', '.join(ARCHITECTURE_OF)}")
    told = _provenance(
        trained_on,
        {"source": source, "licence": licence, "documents": documents, "chunks": chunks},
        known_issue or [],
        windows,
    )
    kind = architecture or ARCHITECTURE_OF[str(route)]
    with err.status("importing the checkpoint"):
        folder = import_original(
            checkpoint,
            kind,
            told,
            space=_space(family, artifacts),
            models=_models(artifacts),
            stem=(route or kind).replace("-", "_"),
            probe=probe,
        )
    _tell(
        {"name": folder.name, "folder": str(folder)}, f"{folder}: imported; promote it to serve it", as_json
    )


@app.command()
def fetch(
    family: Annotated[str, typer.Argument(help="Family whose parts are public, such as gtr.")],
    encoder: LocalPart = None,
    inverter: LocalPart = None,
    corrector: LocalPart = None,
    artifacts: Artifacts = None,
    as_json: AsJson = False,
) -> None:
    """Bring a family's public parts from the model hub, or from local copies in the hub's format."""
    from nextvec.family import Family
    from services.families.fetch import fetch as bring

    source = Family.open(family, (artifacts or artifacts_folder()) / "families")
    given = {"encoder": encoder, "inverter": inverter, "corrector": corrector}
    parts = []
    with err.status(f"fetching {family}") as status:
        for part, folder in bring(source, {name: path for name, path in given.items() if path}):
            parts.append({"part": part, "folder": str(folder)})
            status.update(f"fetching {family}: {part} is there")
    said = "\n".join(f"{record['part']}: {record['folder']}" for record in parts)
    _tell({"family": source.name, "space": source.space, "parts": parts}, said, as_json)


@app.command()
def document(
    page_file: Annotated[Path, typer.Option("--out", dir_okay=False, help="Where the page goes.")] = PAGE,
    artifacts: Artifacts = None,
    as_json: AsJson = False,
) -> None:
    """Write the page that says, for every port, what its model was trained on; from the cards alone."""
    from services.lvm.training_data import page

    text = page(_models(artifacts), (artifacts or artifacts_folder()) / "families")
    changed = not page_file.is_file() or page_file.read_text(encoding="utf-8") != text
    if changed:
        page_file.parent.mkdir(parents=True, exist_ok=True)
        page_file.write_text(text, encoding="utf-8")
    said = f"{page_file}: {'written' if changed else 'up to date'}"
    _tell({"file": str(page_file), "changed": changed}, said, as_json)


def _models(artifacts: Path | None) -> Path:
    return (artifacts or artifacts_folder()) / "lvm" / "models"


def _space(family: str, artifacts: Path | None) -> str:
    from nextvec.family import Family

    return Family.open(family, (artifacts or artifacts_folder()) / "families").space


def _provenance(
    file: Path | None, source: dict[str, Any], known_issues: list[str], windows: int
) -> "Provenance":
    """What the file says, with what the options add."""
    from dataclasses import replace

    from services.lvm.originals import Provenance
    from services.lvm.registry import Source

    told = Provenance.read(file) if file else Provenance((), ())
    sources = (Source(**source),) if any(source.values()) else ()
    return replace(
        told,
        trained_on=(*told.trained_on, *sources),
        known_issues=(*told.known_issues, *known_issues),
        windows=windows or told.windows,
    )


def _tell_exchange(route: str, folder: Path, before: dict[str, list[str]], as_json: bool) -> None:
    previous = next((name for name, routes in before.items() if route in routes), None)
    record = {"route": route, "model": folder.name, "previous": previous}
    said = f"{route} is answered by {folder.name}; before: {previous or 'none'}"
    if previous == folder.name:
        said = f"{route} is answered by {folder.name} already"
    _tell(record, said, as_json)


def _tell(record: dict[str, Any], said: str, as_json: bool) -> None:
    if as_json:
        print_json(record)
    else:
        out.print(escape(said), soft_wrap=True)
