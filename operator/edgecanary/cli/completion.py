"""`edgecanary completion`: the script with which a shell completes commands, flags and names from the cluster."""

import argparse
import sys

_BASH = r"""# bash completion for edgecanary. In ~/.bashrc: source <(edgecanary completion bash)
_edgecanary() {
    local line="${COMP_LINE:0:COMP_POINT}" current directive candidate output
    local -a words
    read -ra words <<<"$line"
    [[ "$line" == *[[:space:]] ]] && words+=("")
    output=$(edgecanary __complete "${words[@]:1}" 2>/dev/null) || return
    directive="${output##*:}"
    output="${output%:*}"
    current="${words[-1]}"
    COMPREPLY=()
    while IFS=$'\t' read -r candidate _; do
        [[ -n "$candidate" ]] || continue
        # Where readline breaks words at = and :, it wants only what comes after them.
        case "$current" in
            *=*) [[ "$COMP_WORDBREAKS" == *=* ]] && candidate="${candidate#"${current%"${current##*=}"}"}" ;;
        esac
        COMPREPLY+=("$candidate")
    done <<<"$output"
    case "$directive" in
        0) compopt -o default 2>/dev/null ;;
        6) compopt -o nospace 2>/dev/null ;;
    esac
}
complete -F _edgecanary edgecanary
"""

_ZSH = r"""#compdef edgecanary
# zsh completion for edgecanary. In ~/.zshrc, after compinit: source <(edgecanary completion zsh)
_edgecanary() {
    local output directive line
    local -a candidates
    output=$(edgecanary __complete "${(@)words[2,CURRENT]}" 2>/dev/null) || return
    directive="${output##*:}"
    for line in ${(f)${output%:*}}; do
        candidates+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}")
    done
    case "$directive" in
        0) _files ;;
        6) _describe -V 'edgecanary' candidates -S '' ;;
        *) _describe -V 'edgecanary' candidates ;;
    esac
}
compdef _edgecanary edgecanary
"""

_FISH = r"""# fish completion for edgecanary. In ~/.config/fish/config.fish: edgecanary completion fish | source
function __edgecanary_complete
    set -l words (commandline -opc) (commandline -ct)
    for line in (edgecanary __complete $words[2..-1] 2>/dev/null)
        string match -q ':*' -- $line; or echo $line
    end
end
function __edgecanary_wants_files
    set -l words (commandline -opc) (commandline -ct)
    test (edgecanary __complete $words[2..-1] 2>/dev/null)[-1] = ':0'
end
complete -c edgecanary -f -a '(__edgecanary_complete)'
complete -c edgecanary -n __edgecanary_wants_files -F
"""

SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds the subcommand's flags."""
    parser = subparsers.add_parser(
        "completion",
        help="print the completion script of a shell",
        description=__doc__,
        epilog="For kubectl edgecanary, kubectl's own completion is enough: see kubectl completion -h.",
    )
    parser.add_argument("shell", choices=sorted(SCRIPTS), help="the shell")


def run(options: argparse.Namespace) -> int:
    """Prints the script; returns the exit code."""
    sys.stdout.write(SCRIPTS[options.shell])
    return 0
