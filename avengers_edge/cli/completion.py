"""`completion`: the script that makes a shell complete commands, options and names; and what answers that script."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import ClassVar, NoReturn

import click
from click.shell_completion import (
    BashComplete,
    FishComplete,
    ShellComplete,
    ZshComplete,
    shell_complete,
    split_arg_string,
)

VARIABLE = "_AVENGERS_COMPLETE"
"""Set by the scripts, to the shell and what it wants."""

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
    """Completes words with a colon in them, as members have: click's own script sees them as several words."""

    source_template: ClassVar[str] = _BASH

    def get_completion_args(self) -> tuple[list[str], str]:
        """Read the line up to the cursor; its last word is what is to be completed."""
        line = os.environ["COMP_WORDS"]
        words = split_arg_string(line)
        incomplete = "" if not words or line[-1:].isspace() else words.pop()
        return words[1:], incomplete


_SHELLS: dict[str, type[ShellComplete]] = {"bash": Bash, "zsh": ZshComplete, "fish": FishComplete}


@click.command()
@click.argument("shell", type=click.Choice(list(_SHELLS)))
def completion(shell: str) -> None:
    """Print the script that makes SHELL complete commands, options, and the names of models, members and teams.

    \b
    Put the line for your shell into its start file:
      bash: eval "$(avengers completion bash)"
      zsh:  eval "$(avengers completion zsh)"
      fish: avengers completion fish | source
    """
    script = _SHELLS[shell](click.Command(_PROGRAM), {}, _PROGRAM, VARIABLE)
    click.echo(script.source_template % script.source_vars(), nl=False)


def complete(cli: click.Command) -> NoReturn:
    """Answer one of the scripts and exit; whatever goes wrong, there is nothing to complete and nothing is said."""
    from click.shell_completion import add_completion_class

    add_completion_class(Bash)
    code = 1
    with contextlib.redirect_stderr(io.StringIO()), contextlib.suppress(Exception, KeyboardInterrupt):
        code = shell_complete(cli, {}, _PROGRAM, VARIABLE, os.environ[VARIABLE])
        sys.stdout.flush()
    sys.exit(code)
