# Gathers facts in the container and prints them as key=value. Changes nothing. POSIX sh: dash, busybox and bash.
# $1 pid whose cgroup tells which processes are the target container's ('' : this container's own)  $2 id of the target
# container, looked for in the processes' cgroups ('' : compare with $1)
set -u
anchor=${1:-self} container=$2
first() { # the first line of a file, if it can be read
    if [ -r "$1" ]; then IFS= read -r line <"$1" && printf '%s' "$line"; fi
}
kernel() { # a sysctl. Not with `read`: it asks byte by byte, and these files answer only the first time
    cat "/proc/sys/kernel/$1" 2>/dev/null
}
either() { # the first line of the first file that can be read
    for file; do if [ -r "$file" ]; then first "$file"; return; fi; done
}
status() { # a field of a process's status: $2, or this shell
    while IFS=':' read -r key value; do
        if [ "$key" = "$1" ]; then set -- $value; printf '%s' "${1:-}"; return; fi
    done <"/proc/${2:-self}/status"
}
limit() { # a soft limit of this shell
    while IFS= read -r line; do
        case $line in "$1 "*) set -- ${line#"$1"}; printf '%s' "$1"; return ;; esac
    done </proc/self/limits
}

page_kib() { # of this shell's own memory
    while read -r key value _; do
        if [ "$key" = KernelPageSize: ]; then printf '%s' "$value"; return; fi
    done </proc/self/smaps
}

echo "arch=$(uname -m)"
echo "kernel=$(cat /proc/version 2>/dev/null)"
echo "uid=$(status Uid)"
echo "capeff=$(status CapEff)"
echo "capbnd=$(status CapBnd)"
echo "nonewprivs=$(status NoNewPrivs)"
echo "seccomp=$(status Seccomp)"
echo "security=$(first /proc/self/attr/current)"
echo "uid_map=$(first /proc/self/uid_map)"
echo "allowed=$(status Cpus_allowed_list)"
echo "online=$(first /sys/devices/system/cpu/online)"
echo "page_kib=$(page_kib 2>/dev/null)"
echo "paranoid=$(kernel perf_event_paranoid)"
echo "mlock_kib=$(kernel perf_event_mlock_kb)"
echo "max_rate=$(kernel perf_event_max_sample_rate)"
echo "memlock=$(limit 'Max locked memory')"
echo "nofile=$(limit 'Max open files')"
quota() { # $1 what the key begins with  $2 where the cgroups are mounted
    if [ -r "$2/cpu.max" ]; then
        echo "$1quota=$(first "$2/cpu.max")"
    elif [ -r "$2/cpu/cpu.cfs_quota_us" ]; then
        echo "$1quota=$(first "$2/cpu/cpu.cfs_quota_us") $(first "$2/cpu/cpu.cfs_period_us")"
    fi
}
quota '' /sys/fs/cgroup
memory() { # $1 what the keys begin with  $2 where the cgroups are mounted
    echo "$1memory_limit=$(either "$2/memory.max" "$2/memory/memory.limit_in_bytes")"
    echo "$1memory_used=$(either "$2/memory.current" "$2/memory/memory.usage_in_bytes")"
    # v1 has both: of this cgroup alone, and with all below it as the usage is
    for stat in "$2/memory.stat inactive_file" "$2/memory/memory.stat total_inactive_file"; do
        while read -r key value 2>/dev/null; do
            if [ "$key" = "${stat##* }" ]; then echo "$1memory_cache=$value"; fi
        done 2>/dev/null <"${stat% *}"
    done
}
memory '' /sys/fs/cgroup
while read -r key value _; do
    if [ "$key" = MemAvailable: ]; then echo "available_kib=$value"; break; fi
done 2>/dev/null </proc/meminfo
echo "oom_group=$(first /sys/fs/cgroup/memory.oom.group)"
samply=$(command -v samply 2>/dev/null)
if [ -n "$samply" ]; then
    echo "samply=$samply"
    echo "version=$("$samply" --version 2>/dev/null </dev/null)"
    # the long options alone, on one line
    flags=''
    for word in $("$samply" record --help 2>/dev/null </dev/null); do
        case $word in
        --[a-z]*) word=${word%%[!a-z-]*} && flags="$flags $word" ;;
        esac
    done
    echo "flags=$flags"
fi
for folder in "${TMPDIR:-}" /tmp /var/tmp /dev/shm "$PWD"; do
    case $folder in /*) ;; *) continue ;; esac
    probe=$folder/.samply-operator-probe.$$
    if mkdir "$probe" 2>/dev/null; then
        rmdir "$probe"
        echo "folder=${folder%/}"
        set -- $(df -Pk "$folder" 2>/dev/null | tail -n 1)
        echo "free_kib=${4:-}"
        mount=${6:-/}
        while read -r _ place kind options _; do
            if [ "$place" = "$mount" ]; then fs="$kind $options"; fi
        done </proc/self/mounts
        echo "folder_fs=${fs:-}"
        break
    fi
done
words() { # $1 file  $2 offset  $3 bytes, as numbers of eight bytes each
    od -An -v -tu8 -j "$2" -N "$3" "$1" 2>/dev/null
}
sections() { # of the program $1, if it is 64-bit little-endian ELF: all names in hex, then for each its name and type in
    # one number, flags, size, and size before it was compressed
    set -- "$1" $(words "$1" 0 64)
    [ $# = 9 ] && [ $(($2 & 0xffffffffffff)) = $((0x102464c457f)) ] || return
    file=$1 many=$(($9 >> 32 & 65535)) names=$(($9 >> 48 & 65535))
    [ "$many" -le 100 ] && [ "$names" -lt "$many" ] || return
    table=$(words "$file" "$7" $((many * 64)))
    set -- $table
    [ $# = $((many * 8)) ] || return
    shift $((names * 8))
    [ "$5" -le 2048 ] 2>/dev/null || return
    printf %s $(od -An -v -tx1 -j "$4" -N "$5" "$file" 2>/dev/null)
    set -- $table
    while [ $# -ge 8 ]; do
        if [ "$5" -ge 4096 ] 2>/dev/null; then
            # A compressed one begins with its type, then its true size.
            inner=''
            if [ $(($2 & 2048)) != 0 ]; then inner=$(words "$file" $(($4 + 8)) 8); fi
            printf ' %s' "$1" "$2" "$5" ${inner:-0}
        fi
        shift 8
    done
}
own=$(first "/proc/$anchor/cgroup")
seen=0 target='' first='' known=''
for folder in /proc/[0-9]*; do
    pid=${folder#/proc/}
    [ "$pid" = $$ ] && continue
    IFS= read -r stat 2>/dev/null <"$folder/stat" || continue
    IFS= read -r group 2>/dev/null <"$folder/cgroup" || group=''
    if [ -n "$container" ]; then
        case $group in *"$container"*) ;; *) [ "$group" = "$own" ] || continue ;; esac
    else
        [ "$group" = "$own" ] || continue
    fi
    name=${stat#*\(}
    name=${name%)*}
    set -- ${stat##*) }
    size='' program=''
    if [ "$seen" -lt 20 ]; then
        size=$(stat -L -c %s "$folder/exe" 2>/dev/null)
        # A script's process has the script's name: only its program tells that it is a shell.
        program=$(readlink "$folder/exe" 2>/dev/null)
        program=${program##*/} program=${program%% *}
    fi
    echo "process=$pid $2 $1 ${18} $((${12} + ${13})) ${20} ${size:-0} ${program:--} $name"
    # Once for all processes of one program.
    if [ -n "$program" ] && [ "$known" != "$size $program" ]; then
        known="$size $program"
        echo "program=${size:-0} $program $(sections "$folder/exe")"
    fi
    seen=$((seen + 1))
    first=${first:-$pid}
    # In a pod that shares its processes the first one may be the pod's own.
    case $group in *"${container:-none}"*) target=${target:-$pid} ;; esac
    [ "$seen" -ge 200 ] && break
done
# From beside it: what the target's own container may use.
target=${target:-$first}
if [ -n "$container" ] && [ -n "$target" ]; then
    memory target_ "/proc/$target/root/sys/fs/cgroup"
    quota target_ "/proc/$target/root/sys/fs/cgroup"
    echo "target_allowed=$(status Cpus_allowed_list "$target")"
fi
:
