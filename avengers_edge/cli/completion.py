"""Shell completion: the `completion` command, and the names of models, members and teams that options complete."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, ClassVar, NoReturn

import click
from click.shell_completion import (
    BashComplete,
    FishComplete,
    ShellComplete,
    ZshComplete,
    add_completion_class,
    shell_complete,
    split_arg_string,
)

from avengers_edge.cli.session import Session

if TYPE_CHECKING:
    from avengers_edge.config import Settings
    from avengers_edge.library.catalog import Catalog

VARIABLE = "_AVENGERS_COMPLETE"
"""The environment variable that the scripts set, to the shell and its request."""

Complete = Callable[[click.Context, click.Parameter, str], list[str]]
"""click's callback for the words that an incomplete one can become."""

_PROGRAM = "avengers"
_BASH = """\
%(complete_func)s() {
    local IFS=$'\\n' line="${COMP_LINE:0:COMP_POINT}" response completion type value word keep
    response=$(env COMP_WORDS="$line" %(complete_var)s=bash_complete "$1" 2>/dev/null)
    # Readline takes the part of a word behind its last colon for the whole word.
    word="${line##*[[:space:]]}" keep=""
    [[ $COMP_WORDBREAKS == *:* ]] && keep="${word%%"${word##*:}"}"
    COMPREPLY=()
    for completion in $response; do
        IFS=',' read -r type value <<< "$completion"
        case $type in
            dir) compopt -o dirnames ;;
            file) compopt -o default ;;
            plain) COMPREPLY+=("${value#"$keep"}") ;;
        esac
    done
}
complete -o nosort -F %(complete_func)s %(prog_name)s
"""


class Bash(BashComplete):
    """Completes words with a colon in them, such as members: click's own script takes them for several words."""

    source_template: ClassVar[str] = _BASH

    def get_completion_args(self) -> tuple[list[str], str]:
        """Read the line up to the cursor; its last word is the incomplete one."""
        line = os.environ["COMP_WORDS"]
        words = split_arg_string(line)
        incomplete = "" if not words or line[-1:].isspace() else words.pop()
        return words[1:], incomplete


_SHELLS: dict[str, type[ShellComplete]] = {"bash": Bash, "zsh": ZshComplete, "fish": FishComplete}


@click.command()
@click.argument("shell", type=click.Choice(list(_SHELLS)))
def completion(shell: str) -> None:
    """Print the completion script of SHELL.

    It completes commands, options, and the names of models, members and teams.

    \b
    Put the line for your shell into its start file:
      bash: eval "$(avengers completion bash)"
      zsh:  eval "$(avengers completion zsh)"
      fish: avengers completion fish | source
    """
    script = _SHELLS[shell](click.Command(_PROGRAM), {}, _PROGRAM, VARIABLE)
    click.echo(script.source_template % script.source_vars(), nl=False)


def complete(cli: click.Command) -> NoReturn:
    """Answer a request of one of the scripts and exit; an error completes nothing and prints nothing."""
    add_completion_class(Bash)
    code = 1
    with contextlib.redirect_stderr(io.StringIO()), contextlib.suppress(Exception, KeyboardInterrupt):
        code = shell_complete(cli, {}, _PROGRAM, VARIABLE, os.environ[VARIABLE])
        sys.stdout.flush()
    sys.exit(code)


def session_of(context: click.Context) -> Session:
    """Return the session of a command line that is being completed: no command has run that would have made one."""
    return Session(context.find_root().params.get("home"))


def _completing(names: Callable[[click.Context, Settings, Catalog], Iterable[str]]) -> Complete:
    def complete_name(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
        from avengers_edge.library.catalog import Catalog

        try:
            settings = session_of(context).settings()
            found = sorted(set(names(context, settings, Catalog.of(settings))))
        except Exception:  # a shell would show the error in the middle of the user's line
            return []
        return [name for name in found if name.startswith(incomplete)]

    return complete_name


def _installed(_context: click.Context, settings: Settings, _catalog: Catalog) -> Iterable[str]:
    return (folder.name for folder in (settings.home / "models").iterdir() if folder.is_dir())


def _members(context: click.Context, settings: Settings, catalog: Catalog) -> Iterable[str]:
    team = catalog.load_team(context.params.get("team") or settings.team)
    return [*(member.name for member in team.members), *catalog.list_models()]


def _any_members(_context: click.Context, _settings: Settings, catalog: Catalog) -> Iterable[str]:
    return (f"{model}:{mode}" for model in catalog.list_models() for mode in catalog.modes())


complete_models = _completing(lambda _context, _settings, catalog: catalog.list_models())
"""All models that a manifest describes."""
complete_installed = _completing(_installed)
"""Models that have a folder in the store."""
complete_teams = _completing(lambda _context, _settings, catalog: catalog.list_teams())
"""All teams."""
complete_members = _completing(_members)
"""The members of the team that the command names, or of the default one, and all models."""
complete_any_member = _completing(_any_members)
"""All models in all ways of asking."""
