# What the scripts of this folder share; they source it from the project's root.
# shellcheck shell=bash disable=SC2034

cache=${SAMPLY_OPERATOR_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/samply-operator}

has() { command -v "$1" >/dev/null; }
has_docker() { has docker && docker info >/dev/null 2>&1; }

# Whether the cluster is kind's: as `choose_provider` of hack/cluster decides.
uses_kind() { [[ ${SAMPLY_CLUSTER_PROVIDER:-} == kind ]] || { [[ -z ${SAMPLY_CLUSTER_PROVIDER:-} ]] && has_docker; }; }

# Whether the program is a Go that can fetch the release of hack/native/go/go.mod by itself.
is_new_enough() {
    local have
    have=$("$1" env GOVERSION 2>/dev/null) || return 1
    [[ $(printf '%s\n' 1.21 "${have#go}" | sort -V | head -n 1) == 1.21 ]]
}
