# What record.sh and stop.sh ask of a process alike; read_script puts it in where they name it. `pid` is the target's.
clock() { # uptime in centiseconds
    read -r up _ </proc/uptime
    echo "${up%.*}${up#*.}"
}
state() {
    if IFS= read -r line 2>/dev/null <"/proc/$1/stat"; then
        set -- ${line##*) }
        echo "$1"
    fi
}
started() {
    if IFS= read -r line 2>/dev/null <"/proc/$1/stat"; then
        set -- ${line##*) }
        echo "${20}"
    fi
}
is_gone() { # ended, whether or not somebody has waited for it
    case $(state "$1") in '' | Z | X) return 0 ;; esac
    return 1
}
mark() { # sets at and used: the clock, and the CPU time of the whole process (ended threads included) at that moment
    # On a busy machine much may pass between two lines: again until the clock stood still meanwhile.
    line='' used=''
    for _ in 1 2 3 4 5 6 7 8 9; do
        at=$(clock)
        read -r line 2>/dev/null <"/proc/$pid/stat"
        [ $at = $(clock) ] && break
    done
    set -- ${line##*) }
    [ $# = 0 ] || used=$((${12} + ${13}))
}
throttled() { # what the CPU limit took from the target's container so far: µs in cgroup v2, ns in v1
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
