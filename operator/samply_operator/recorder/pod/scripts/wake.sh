# Continues a process that was left stopped.
# $1 pid  $2 its start time
pid=$1 born=$2
if IFS= read -r line 2>/dev/null <"/proc/$pid/stat"; then
    set -- ${line##*) }
    # Also one that still runs: a SIGSTOP may be on its way to it.
    if [ "${20}" = "$born" ]; then kill -CONT "$pid" && case $1 in T | t) echo 'continued' ;; esac; fi
fi
:
