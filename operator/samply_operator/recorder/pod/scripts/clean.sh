# Leaves nothing of a recording in the container: no process, no stopped target, no file.
# $1 folder  $2 pid of the target  $3 its start time, 0: not known
set -u
dir=$1 pid=$2 born=$3
for who in samply shell timer; do
    if read -r id was 2>/dev/null <"$dir/$who" && IFS= read -r line 2>/dev/null <"/proc/$id/stat"; then
        set -- ${line##*) }
        # A shell whose work is done ends by itself within a second.
        if [ "${20}" = "$was" ] && { [ $who = samply ] || [ ! -e "$dir/ended" ]; }; then kill -KILL "$id" 2>/dev/null; fi
    fi
done
if IFS= read -r line 2>/dev/null <"/proc/$pid/stat"; then
    set -- ${line##*) }
    # Another process may have the number by now.
    case "$1 $born" in
    "T ${20}" | "t ${20}" | 'T 0' | 't 0') kill -CONT "$pid" && echo 'continued' ;;
    *)
        # A SIGSTOP that samply sent may be on its way: see record.sh.
        if [ "${20}" = "$born" ] && [ -e "$dir/samply" ] && ! grep -q 'Recording process' "$dir/err"; then
            kill -CONT "$pid"
        fi
        ;;
    esac
fi
# A samply of the operator's own may be there, whole or in part, though its recording never began.
cd / || exit
# A shell that was about to end may still write its last lines, and a folder that fills again is not removed.
for _ in 1 2 3; do
    rm -rf "$dir" "$dir.bin" "$dir.bin".part.* && break
    sleep 1
done
:
