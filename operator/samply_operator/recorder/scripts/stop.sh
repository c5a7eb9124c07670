# Ends a recording early: the one SIGINT, if nobody else has sent it.
# $1 folder  $2 cause: keep (samply writes its file) or discard (it doesn't matter any more)
set -u
dir=$1 cause=$2
cd "$dir" 2>/dev/null || exit 66
read -r recorder was <samply || exit 67
started() {
    if IFS= read -r line 2>/dev/null <"/proc/$1/stat"; then
        set -- ${line##*) }
        echo "${20}"
    fi
}
is_gone() { # ended, whether or not somebody has waited for it
    IFS= read -r line 2>/dev/null <"/proc/$1/stat" || return 0
    set -- ${line##*) }
    case $1 in Z | X) return 0 ;; esac
    return 1
}
throttled() { # as in record.sh
    for stat in "/proc/$pid/root/sys/fs/cgroup" /sys/fs/cgroup; do
        for stat in "$stat/cpu.stat" "$stat/cpu/cpu.stat"; do
            [ -r "$stat" ] || continue
            while read -r key value; do
                case $key in
                throttled_usec) echo "$value" ;;
                throttled_time) echo $((value / 1000)) ;;
                esac
            done <"$stat"
            return
        done
    done
}
# Before samply says that it records it may hold the target stopped: wait for it, 10 s at most.
n=0
until grep -q 'Recording process' err 2>/dev/null || [ -e ended ] || [ $n -ge 100 ]; do
    sleep 0.1 2>/dev/null || sleep 1
    n=$((n + 1))
done
pid=$(tr '\0' '\n' 2>/dev/null <"/proc/$recorder/cmdline" | sed -n '/^-p$/{n;p;q;}')
# A samply that has stopped by itself, since its target is gone, no longer listens: a SIGINT would lose its file.
if [ ! -e ended ] && ! is_gone "$pid" && [ "$(started "$recorder")" = "$was" ] && mkdir stopped 2>/dev/null; then
    read -r up _ </proc/uptime
    cpu=''
    if IFS= read -r line 2>/dev/null <"/proc/$pid/stat"; then
        set -- ${line##*) }
        cpu=$((${12} + ${13}))
    fi
    echo "throttled $(throttled)" >>events
    echo "stopping ${up%.*}${up#*.} $cpu $cause" >>events
    kill -INT "$recorder"
fi
if [ "$cause" = discard ] && [ ! -e ended ] && [ "$(started "$recorder")" = "$was" ]; then
    kill -KILL "$recorder"
fi
:
