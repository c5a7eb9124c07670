"""Completion. kubectl asks a program named kubectl_complete-samply what may come next; so do the shells' scripts here.

The protocol is cobra's: the words after `kubectl samply`, the last one unfinished; one suggestion a line, then `:4`,
which says that no file's name is meant.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterable, Mapping

from samply_operator.errors import KubeError
from samply_operator.model.attachment import KINDS
from samply_operator.plugin.kubectl import Kubectl

NO_FILES, FILES = ":4", ":0"

_BASH = """\
_kubectl_samply() {
    local IFS=$'\\n' found
    found=$(kubectl_complete-samply "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null | grep -v '^:')
    COMPREPLY=($(compgen -W "$found" -- "${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _kubectl_samply kubectl-samply
"""

_ZSH = """\
#compdef kubectl-samply
_kubectl_samply() {
    local -a found
    found=(${(f)"$(kubectl_complete-samply "${(@)words[2,CURRENT]}" 2>/dev/null | grep -v '^:')"})
    compadd -a found
}
compdef _kubectl_samply kubectl-samply
"""

_FISH = """\
function __kubectl_samply
    set -l words (commandline -opc) (commandline -ct)
    kubectl_complete-samply $words[2..-1] 2>/dev/null | string match -v ':*'
end
complete -c kubectl-samply -f -a '(__kubectl_samply)'
"""

SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}

OF_FILES = frozenset({"--out", "-O", "--kubeconfig"})
VALUES: Mapping[str, tuple[str, ...]] = {
    "--output": ("text", "json"),
    "-o": ("text", "json"),
    "--mode": ("Auto", "InPlace", "BringOwn", "Ephemeral", "Pipeline"),
    "--attach": KINDS,
    "--ordinal": ("all", "0"),
    "--duration": ("10s", "30s", "1m", "5m"),
    "--since": ("1h", "24h", "7d"),
}
TAKES_A_NAME = frozenset({"record", "preflight", "list", "get", "top", "diff", "flamegraph", "open", "export"})

Look = Callable[[list[str]], Iterable[str]]


def suggest(words: list[str], commands: Mapping[str, argparse.ArgumentParser], look: Look) -> tuple[list[str], str]:
    """Suggestions for the last word, and the directive. `look` finds names in the cluster with kubectl's flags."""
    *before, word = words or [""]
    last = before[-1] if before else ""
    command = next((each for each in before if each in commands), None)
    if last in OF_FILES:
        return [], FILES
    if command is None:
        found: Iterable[str] = commands
    elif last in VALUES:
        found = VALUES[last]
    elif command == "completion":
        found = SCRIPTS
    elif word.startswith("-"):
        found = re.findall(r"(?<![\w-])--[a-z]+(?:-[a-z]+)*", commands[command].format_help())
    else:
        found = look(find_flags(before)) if command in TAKES_A_NAME else ()
    return sorted({each for each in found if each.startswith(word)}), NO_FILES


def find_flags(words: list[str]) -> list[str]:
    """The flags that select the cluster and namespace."""
    flags = []
    for word, following in zip(words, [*words[1:], ""], strict=True):
        if word in {"-n", "--namespace", "--context", "--kubeconfig"} and following:
            flags += [word, following]
        elif re.match(r"--(namespace|context|kubeconfig)=", word):
            flags.append(word)
    return flags


def look_up(flags: list[str]) -> Iterable[str]:
    """Pipelines and profiles of the namespace; empty if the cluster is not reachable."""
    template = "jsonpath={range .items[*]}{.spec.pipeline} {.metadata.name} {end}"
    try:
        return Kubectl().run("get", "samplyprofiles", *flags, "--request-timeout=3s", "-o", template).split()
    except KubeError:
        return ()
