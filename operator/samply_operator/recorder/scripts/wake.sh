# Continues a process that was left stopped.
# $1 pid  $2 its start time
pid=$1 born=$2
if IFS= read -r line 2>/dev/null <"/proc/$pid/stat"; then
    set -- ${line##*) }
    case "$1 ${20}" in "T $born" | "t $born") kill -CONT "$pid" && echo 'continued' ;; esac
fi
:
