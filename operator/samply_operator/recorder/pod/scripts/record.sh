# One recording, from start to file, in the target's container. POSIX sh: dash, busybox and bash.
# It must end well when nobody listens any more: its timer is here, samply gets exactly one SIGINT (whoever makes the
# folder `stopped` sends it), and the target is never left stopped. It tells its story as lines, to stdout and to the
# file `events`; model and meaning are in rules/recording/record_output.py.
# $1 folder  $2 pid  $3 seconds  $4 rate  $5 symbol flag or ''  $6 samply  $7 attach deadline  $8 finish deadline (s)
# $9 KiB that samply may use, 0: no limit  $10 start time of the target, in ticks since boot
# $11 KiB that the target's container must keep, 0: samply takes nothing of what that may use
# $12 seconds until what nobody fetched or cleaned away goes by itself, 0: it stays
set -u
trap '' HUP PIPE
umask 077
dir=$1 pid=$2 secs=$3 rate=$4 symbols=$5 samply=$6 attach=$7 finish=$8 cap=$9 born=${10} reserve=${11} keep=${12}

# mkdir is the lock: a folder is used once, ever.
mkdir "$dir" 2>/dev/null || { [ -d "$dir" ] && exit 64; exit 65; }
cd "$dir" || exit 65

say() {
    echo "$*" >>events
    echo "$*" 2>/dev/null || :
}
. parts/process.sh
room() { # KiB that the target's container may still take, what the kernel can drop not counted; nothing: no limit
    for group in "/proc/$pid/root/sys/fs/cgroup" /sys/fs/cgroup; do
        for group in "$group/memory" "$group/memory/memory"; do
            limit='' taken='' dropped=0
            for file in max limit_in_bytes; do read -r limit 2>/dev/null <"$group.$file" && break; done
            for file in current usage_in_bytes; do read -r taken 2>/dev/null <"$group.$file" && break; done
            [ -n "$taken" ] || continue
            case $limit in '' | *[!0-9]*) return ;; esac
            # v1 has both: of this cgroup alone, and with all below it as the usage is
            mine=''
            case $file in usage_in_bytes) mine=total_ ;; esac
            while read -r key value; do
                case $key in
                "${mine}inactive_file" | "${mine}active_file") dropped=$((dropped + value)) ;;
                esac
            done 2>/dev/null <"$group.stat"
            echo $(((limit - taken + dropped) / 1024))
            return
        done
    done
}
check_memory() { # in the container, samply's memory counts as the pipeline's: better no profile than no pipeline
    [ "$cap" -gt 0 ] || return 0
    # Of its own alone: pages of files can be dropped, and ring buffers count as such on some kernels.
    used=0
    while read -r key value _; do
        case $key in RssAnon: | RssShmem:) used=$((used + value)) ;; esac
    done 2>/dev/null <"/proc/$recorder/status"
    # The pipeline grows as well.
    spare=''
    if [ "$reserve" -gt 0 ]; then spare=$(room); fi
    if [ -n "$spare" ] && [ "$beside" = yes ]; then spare=$((spare - used)); fi
    if [ "$used" -gt "$cap" ] || [ "${spare:-$reserve}" -lt "$reserve" ]; then
        say "deadline memory"
        mkdir stopped 2>/dev/null
        kill -KILL $recorder
    fi
}
nap() { sleep "$1" 2>/dev/null || sleep 1; }
is_main_dead() { # an exec that a runtime cuts may be killed, and only it
    [ "$(started $$)" != "$own" ] || [ "$(state $$)" = Z ]
}
over() { # samply has ended, or all was cleaned away: then samply too, whoever did it
    [ -e ended ] && return
    if [ -e shell ]; then
        is_main_dead || return 1
        case $(state $recorder) in '' | Z) return 0 ;; *) return 1 ;; esac
    fi
    [ "$(started $recorder)" = "$began" ] && kill -KILL $recorder 2>/dev/null
    return 0
}
conclude() { # after samply's end  $1 its exit code, if it is known
    : >ended
    # Told here, not where it happens: two that tell at once would tell in any order.
    if grep -q '^stopping' events; then say "throttled $(throttled)"; fi
    case $(state "$pid") in
    T | t)
        kill -CONT "$pid" && say 'continued'
        ;;
    *)
        # Killed during the attach, it may have sent its SIGSTOP: a process that the CPU limit holds stops when it next
        # runs. SIGCONT takes that back.
        if [ "$(started "$pid")" = "$born" ] && ! grep -q 'Recording process' err; then kill -CONT "$pid"; fi
        ;;
    esac
    [ -z "$1" ] || say "exit $1"
    lost=$(sed -n 's/.*Lost \([0-9][0-9]*\) events.*/\1/p' err | tail -n 1)
    say "lost ${lost:-0}"
    for file in profile.json.gz profile.json.syms.json; do
        if [ -f $file ]; then
            sum=$(sha256sum <$file)
            say "file $file $(($(wc -c <$file))) ${sum%% *}"
        fi
    done
    say 'done'
    # Of its own: on a full disk the line may be lost, an empty file has room.
    : >told
}

own=$(started $$)
echo "$$ $own" >shell
# Another process may have the number by now. 0: not known, from an older journal.
if [ "$born" != 0 ] && [ "$(started "$pid")" != "$born" ]; then
    rm -f "$dir.bin"
    echo 'No such process' >err
    say 'exit 3'
    say 'done'
    exit 0
fi
# Beside the target's container, what samply takes isn't in the target's own cgroup.
beside=yes
[ "$(cat /proc/self/cgroup 2>/dev/null)" = "$(cat "/proc/$pid/cgroup" 2>/dev/null)" ] && beside=no
(
    # Looked at each second it may still grow too fast: then the kernel refuses. It counts what is only set aside too:
    # lists that have just doubled, the stacks of a thread for each CPU.
    if [ "$cap" -gt 0 ]; then
        cpus=0
        read -r cpus 2>/dev/null </sys/devices/system/cpu/online
        ulimit -d $((cap + cap / 2 + 16384 + 2048 * (${cpus##*[!0-9]} + 1))) 2>/dev/null
    fi
    exec "$samply" record -p "$pid" -o "$dir/profile.json.gz" --save-only -r "$rate" $symbols
) >out 2>err </dev/null &
recorder=$!
began=$(started $recorder)
echo "$recorder $began" >samply

watch() { # until samply has ended; sends it its SIGINT
    end=$(($(clock) + attach * 100))
    until grep -q 'Recording process' err 2>/dev/null; do
        over && return
        if [ "$(clock)" -ge $end ]; then
            # Killed during the attach, samply may leave the target stopped: the guard above cures that.
            say 'deadline attach'
            mkdir stopped 2>/dev/null
            kill -KILL $recorder
            until over; do nap 0.1; done
            return
        fi
        nap 0.05
    done
    say "throttled $(throttled)"
    mark
    say "recording $at $used"
    # One that was brought has done its part as a file, and guards of production look for those.
    rm -f "$dir.bin"
    end=$((at + secs * 100))
    while ! over && [ ! -d stopped ]; do
        left=$((end - $(clock)))
        [ $left -le 0 ] && break
        check_memory
        if [ $left -ge 100 ]; then sleep 1; else
            [ $left -lt 10 ] && left=0$left
            nap "0.$left"
        fi
    done
    # A samply that has stopped by itself, since its target is gone, no longer listens: a SIGINT would lose its file.
    if ! over && ! is_gone "$pid" && mkdir stopped 2>/dev/null; then
        say "throttled $(throttled)"
        mark
        say "stopping $at $used timer"
        kill -INT $recorder
    fi
    end=$(($(clock) + finish * 100))
    until over; do
        if [ "$(clock)" -ge $end ]; then
            say 'deadline finish'
            kill -KILL $recorder
            until over; do nap 0.1; done
            return
        fi
        check_memory
        nap 0.1
    done
}
(
    watch
    # Whoever waits for samply tells its end. Killed before it did, this does.
    until [ ! -e shell ] || [ -e told ] || is_main_dead; do nap 0.1; done
    if [ -e shell ] && [ ! -e told ]; then conclude ''; fi
    [ "$keep" -gt 0 ] || exit 0
    end=$(($(clock) + keep * 100))
    until [ ! -e shell ] || [ "$(clock)" -ge $end ]; do nap 0.5; done
    # Gone already: the next attempt may have made its own by now.
    [ -e shell ] && cd / && rm -rf "$dir" "$dir.bin"
) &
timer=$!
echo "$timer $(started $timer)" >timer

wait $recorder
conclude $?
wait $timer
:
