"""The commands and their options; each body stands in a module of its own and is imported when it runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from mml.cli.errors import reporting

app = typer.Typer(
    name="mml",
    help="Compose machine-learning experiments, run them, and repeat them exactly.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Document = Annotated[Path, typer.Argument(metavar="FILE", help="An experiment document (YAML).")]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Replace a value, such as plan.train.epochs=5; repeatable."
    ),
]
Seed = Annotated[int | None, typer.Option("--seed", min=0, metavar="N", help="The experiment's seed.")]
Save = Annotated[
    Path | None, typer.Option("--save", metavar="PATH", help="Write the finished experiment to a .mml file.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Imports = Annotated[
    bool,
    typer.Option(
        "--allow-imports", help="Let the document name Python classes, whose modules are then imported."
    ),
]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if version:
        from mml import __version__

        typer.echo(f"mml {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        raise typer.Exit(2)


def _command(example: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return app.command(epilog=f"Example: {example}")


@_command("mml run breast_cancer.yaml --set plan.train.epochs=5 --seed 3 --save run.mml")
def run(
    file: Document,
    *,
    settings: Settings = None,
    seed: Seed = None,
    save: Save = None,
    json: Json = False,
    allow_imports: Imports = False,
    debug: Debug = False,
) -> None:
    """Run an experiment document and print what came of it."""
    with reporting(debug=debug):
        from mml.cli.run import run_file

        overrides = settings or ()
        raise typer.Exit(
            run_file(
                file, overrides=overrides, seed=seed, save=save, as_json=json, allow_imports=allow_imports
            )
        )


@_command("mml validate breast_cancer.yaml")
def validate(
    file: Document, *, settings: Settings = None, allow_imports: Imports = False, debug: Debug = False
) -> None:
    """Check an experiment document without reading data."""
    with reporting(debug=debug):
        from mml.cli.run import validate_file

        raise typer.Exit(validate_file(file, overrides=settings or (), allow_imports=allow_imports))


@_command("mml schema > mml.schema.json")
def schema(*, debug: Debug = False) -> None:
    """Print the JSON Schema of experiment documents.

    It holds the names of all components that are installed.
    """
    with reporting(debug=debug):
        from mml.cli.output import print_json
        from mml.documents import json_schema

        print_json(json_schema())


@_command("mml plugins --check")
def plugins(
    *,
    check: Annotated[bool, typer.Option("--check", help="Load every component of every plugin.")] = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """List plugins, their components and their troubles."""
    with reporting(debug=debug):
        from mml.cli.plugins import show_plugins

        raise typer.Exit(show_plugins(check=check, as_json=json))


@_command("mml doctor --json > doctor.json")
def doctor(
    *,
    folder: Annotated[
        Path | None,
        typer.Option("--folder", metavar="PATH", help="Where runs are written; by default, here."),
    ] = None,
    timeout: Annotated[
        float,
        typer.Option("--timeout", min=0.1, metavar="SECONDS", help="How long one answer may take."),
    ] = 60.0,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Examine versions, devices, threads and plugins.

    Every plugin is asked in a process of its own. The exit status is 1 where something is broken.
    """
    with reporting(debug=debug):
        from mml.cli.doctor import show_doctor

        raise typer.Exit(show_doctor(folder=folder or Path.cwd(), timeout_s=timeout, as_json=json))


@_command("mml demo --seed 1")
def demo(*, seed: Seed = None, save: Save = None, json: Json = False, debug: Debug = False) -> None:
    """Train on real data, from scaling to the test split."""
    with reporting(debug=debug):
        from mml.cli.demo import run_demo

        raise typer.Exit(run_demo(seed=seed, save=save, as_json=json))


@_command("mml show breast-cancer-0.mml")
def show(
    file: Annotated[Path, typer.Argument(metavar="FILE.mml", help="A file that MML wrote.")],
    *,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Show what is in a .mml file, running none of it."""
    with reporting(debug=debug):
        from mml.cli.show import show_file

        raise typer.Exit(show_file(file, as_json=json))


@_command("mml conformance reference")
def conformance(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A backend.")],
    *,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Hold a backend to the contract that all fill."""
    with reporting(debug=debug):
        from mml.cli.conformance import run_conformance

        raise typer.Exit(run_conformance(name, as_json=json))
