# Ends a recording early: the one SIGINT, if nobody else has sent it.
# $1 folder  $2 cause: keep (samply writes its file) or discard (it doesn't matter any more)
set -u
dir=$1 cause=$2
cd "$dir" 2>/dev/null || exit 66
read -r recorder was <samply || exit 67
. parts/process.sh
# Before samply says that it records it may hold the target stopped: wait for it, 10 s at most.
n=0
until grep -q 'Recording process' err 2>/dev/null || [ -e ended ] || [ $n -ge 100 ]; do
    sleep 0.1 2>/dev/null || sleep 1
    n=$((n + 1))
done
pid=$(tr '\0' '\n' 2>/dev/null <"/proc/$recorder/cmdline" | sed -n '/^-p$/{n;p;q;}')
# A samply that has stopped by itself, since its target is gone, no longer listens: a SIGINT would lose its file.
if [ ! -e ended ] && ! is_gone "$pid" && [ "$(started "$recorder")" = "$was" ]; then
    # Little lies between the mark and the SIGINT: killed there, nobody would send it.
    taken=$(throttled)
    mark
    if mkdir stopped 2>/dev/null; then
        echo "throttled $taken" >>events
        echo "stopping $at $used $cause" >>events
        kill -INT "$recorder"
    fi
fi
if [ "$cause" = discard ] && [ ! -e ended ] && [ "$(started "$recorder")" = "$was" ]; then
    kill -KILL "$recorder"
fi
:
