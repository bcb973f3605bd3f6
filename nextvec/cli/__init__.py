"""The command `nextvec`. Each command imports what is heavy only when it runs."""

import typer

from nextvec.cli import bank, bench, corpus, keys, models, sequences, train
from nextvec.cli.capacity import capacity
from nextvec.cli.complete import complete
from nextvec.cli.demo import demo
from nextvec.cli.doctor import doctor
from nextvec.cli.evaluate import evaluate
from nextvec.cli.exits import CommandGroup
from nextvec.cli.routes import routes
from nextvec.cli.scale import scale
from nextvec.cli.stages import decode, encode, predict, snap
from nextvec.cli.up import up

app = typer.Typer(
    cls=CommandGroup,
    help="Predict the next text from a text, by way of vectors.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
)

_SYSTEM = "The system"
app.command(rich_help_panel=_SYSTEM)(up)
app.command(rich_help_panel=_SYSTEM)(scale)
app.command(rich_help_panel=_SYSTEM)(demo)
app.command(rich_help_panel=_SYSTEM)(complete)
app.command(rich_help_panel=_SYSTEM)(routes)
app.command(rich_help_panel=_SYSTEM)(doctor)
app.command(rich_help_panel=_SYSTEM)(capacity)

_STAGES = "One stage at a time, on files"
app.command(rich_help_panel=_STAGES)(encode)
app.command(rich_help_panel=_STAGES)(predict)
app.command(rich_help_panel=_STAGES)(snap)
app.command(rich_help_panel=_STAGES)(decode)

app.add_typer(corpus.app, name="corpus", rich_help_panel="Data")
app.add_typer(sequences.app, name="sequences", rich_help_panel="Data")
app.add_typer(train.app, name="train", rich_help_panel="Data")
app.add_typer(bank.app, name="bank", rich_help_panel="Data")
app.add_typer(models.app, name="models", rich_help_panel="Data")
app.command("eval", rich_help_panel="Data")(evaluate)

app.add_typer(bench.app, name="bench", rich_help_panel=_SYSTEM)
app.add_typer(keys.app, name="keys", rich_help_panel=_SYSTEM)
