"""Completion scripts. kubectl itself completes plugins through a program named kubectl_complete-samply."""

from __future__ import annotations

COMMANDS = "record preflight list get top diff open completion"

_BASH = f"""\
_kubectl_samply() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} at=1
    [[ ${{COMP_WORDS[0]}} == kubectl ]] && at=2
    if (( COMP_CWORD == at )); then
        COMPREPLY=($(compgen -W "{COMMANDS}" -- "$word"))
    elif [[ $word == -* ]]; then
        COMPREPLY=($(compgen -W "--namespace --context --ordinal --duration --mode --output --help" -- "$word"))
    else
        local found='jsonpath={{range .items[*]}}{{.spec.pipeline}} {{.metadata.name}} {{end}}'
        COMPREPLY=($(compgen -W "$(kubectl get samplyprofiles -o "$found" 2>/dev/null)" -- "$word"))
    fi
}}
complete -F _kubectl_samply kubectl-samply
"""

_ZSH = f"""\
#compdef kubectl-samply
_arguments '1:command:({COMMANDS})' '*:name:($(kubectl get samplyprofiles -o name 2>/dev/null | sed s,.*/,,))'
"""

_FISH = f"""\
complete -c kubectl-samply -f -n __fish_use_subcommand -a '{COMMANDS}'
complete -c kubectl-samply -l namespace -l context -l ordinal -l duration -l mode -l output
"""

SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}
