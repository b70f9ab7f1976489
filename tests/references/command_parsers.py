"""What is wrong with a command line, as its own program's parser sees it; nothing is started or connected to.

Each ``*_problem`` takes the arguments after the program's name and returns a message, or None.
"""

from __future__ import annotations

import contextlib
import inspect
import io
import re
import warnings
from copy import copy
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from unittest.mock import patch

import click
from celery import Celery
from celery.bin import control
from celery.bin.base import CLIContext
from celery.bin.celery import celery
from celery.worker.control import Panel
from pages import ROOT, SKELETON

# Names that stand for a number where an option or an argument wants one: `pool_grow N`.
NUMBERS = {"N", "COUNT", "SECONDS", "SOFT", "HARD", "PORT"}
NAMES_TASKS = {"ids", "task_id"}  # the variadic arguments without which a remote command does nothing

# As `kubectl VERB --help` of client v1.32.4 lists them, what the pages use; CI need not have kubectl.
KUBECTL = {
    "rollout undo": {"--to-revision", "--dry-run", "-n", "--namespace", "-l", "--selector"},
    "rollout status": {"--timeout", "-w", "--watch", "--revision", "-n", "--namespace", "-l", "--selector"},
    "get": {"-o", "--output", "-n", "--namespace", "-l", "--selector", "-w", "--watch", "-A", "--all-namespaces"},
}


def celery_problem(argv: list[str], *, mention: bool = False) -> str | None:
    """Parse with Celery's own click commands. A mention in prose may leave out required arguments."""
    argv = ["1" if word in NUMBERS else word for word in argv]
    try:
        with patch("os.chdir"), contextlib.redirect_stdout(io.StringIO()):  # `--workdir`, `--help`
            _parse_celery(argv)
    except click.exceptions.Exit:
        return None
    except (click.MissingParameter, click.exceptions.NoArgsIsHelpError) as error:
        return None if mention else error.format_message()
    except click.ClickException as error:
        return error.format_message()
    except (ValueError, TypeError, KeyError) as error:  # of the commands that convert their arguments themselves
        return f"{type(error).__name__}: {error}"
    return None


def _parse_celery(argv: list[str]) -> None:
    app = Celery("shop", set_as_current=False)
    context = celery.make_context("celery", list(argv), obj=CLIContext(app, no_color=True, workdir=None))
    given = context.params["app"]
    if given and not (SKELETON / re.split(r"[.:]", given)[0]).is_dir():
        raise click.UsageError(f"-A {given}: the shop has no such package")
    if context.params["version"]:
        return
    while isinstance(context.command, click.Group):
        words = [*context._protected_args, *context.args]
        if not words:
            raise click.UsageError(f"{context.command_path} without a sub-command")
        name, command, words = context.command.resolve_command(context, words)
        context = command.make_context(name, words, parent=context)
    if not given and context.command_path.split()[1] in ("worker", "beat", "inspect", "control", "status", "purge"):
        raise click.UsageError(f"{context.command_path} without -A finds no settings")
    _after_parsing(context, app)


def _after_parsing(context: click.Context, app: Celery) -> None:
    """What Celery checks only when the command runs."""
    name, words = context.command.name, list(context.args)
    if name in ("inspect", "control"):
        _remote_command(name, context.params["command"], words)
    elif name in ("worker", "beat"):
        if words:
            app.config_from_cmdline(words, namespace="worker" if name == "worker" else None)
        if not re.fullmatch(r"[^/\s]+", context.params["hostname"] or "-"):
            raise click.UsageError(f"{context.params['hostname']!r} is no node name")
        scheduler = context.params["scheduler"] or app.conf.beat_scheduler
        known = {point.name for point in entry_points(group="celery.beat_schedulers")}
        if scheduler not in known and not re.search(r"[.:]", scheduler):
            raise click.UsageError(f"no scheduler {scheduler!r}; {', '.join(sorted(known))} or a class's path")
    elif name == "flower":
        if problem := flower_problem(list(context.params["tornado_argv"])):
            raise click.UsageError(problem)
    elif words and name != "multi":
        raise click.UsageError(f"{context.command_path} takes no {words[0]!r}")


def _remote_command(kind: str, name: str, words: list[str]) -> None:
    control._verify_command_name(kind, name)
    meta = Panel.meta[name]
    if meta.variadic in NAMES_TASKS and len(words) <= len(meta.args or ()):
        raise click.UsageError(f"{kind} {name} names no task: {meta.signature}")
    if words and not (meta.args or meta.variadic):  # Celery passes over them
        raise click.UsageError(f"{kind} {name} takes no arguments")
    arguments = control._compile_arguments(name, words)
    inspect.signature(Panel.data[name]).bind(None, **arguments)  # as the worker calls it; TypeError where one lacks


def flower_problem(argv: list[str]) -> str | None:
    """Parse with Flower's own options; Flower passes over those it does not know, which is no use to a reader."""
    from flower.options import options
    from tornado.options import Error, OptionParser

    parser = OptionParser()
    parser._options.update({name: copy(option) for name, option in options._options.items()})
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            rest = parser.parse_command_line(["flower", *argv], final=False)
    except (Error, ValueError) as error:
        return str(error)
    return f"Flower takes no argument {rest[0]!r}" if rest else None


@cache
def flower_variables() -> frozenset[str]:
    """The environment variables that Flower reads: one per option, and those that its source names."""
    import flower
    from flower.options import options

    source = "".join(path.read_text() for path in Path(flower.__file__).parent.rglob("*.py"))
    named = re.findall(r"environ[^\n]*?['\"](FLOWER_\w+)['\"]", source)
    return frozenset(named) | {f"FLOWER_{name.replace('-', '_').upper()}" for name in options._options}


def pip_problem(argv: list[str]) -> str | None:
    """Parse with pip's own option parser."""
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()) as said:
        warnings.simplefilter("ignore")
        from pip._internal.commands import commands_dict, create_command

        if not argv or argv[0] not in commands_dict:
            return f"pip has no command {' '.join(argv[:1])!r}"
        try:
            create_command(argv[0]).parse_args(argv[1:])
        except SystemExit:
            return said.getvalue().strip()
    return None


def kubectl_problem(argv: list[str]) -> str | None:
    """Look the verb and its options up in the table."""
    verb = next((verb for verb in KUBECTL if argv[: len(verb.split())] == verb.split()), None)
    if verb is None:
        return f"kubectl {' '.join(argv[:2])!r} is not in the table KUBECTL; look it up and add it"
    strange = {word.partition("=")[0] for word in argv if word.startswith("-")} - KUBECTL[verb]
    return f"kubectl {verb} has no option {', '.join(sorted(strange))} in the table KUBECTL" if strange else None


def make_problem(argv: list[str]) -> str | None:
    """Every target is one of the Makefile's."""
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    strange = {word for word in argv if "=" not in word and not word.startswith("-")} - targets
    return f"the Makefile has no target {', '.join(sorted(strange))}" if strange else None
