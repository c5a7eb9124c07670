# The main process of an ephemeral container: keeps it there while it is used, and not longer.
# $1 seconds until it ends by itself, whatever happened to the operator  $2 the same where no recording was begun in it
set -u
trap 'exit 0' TERM INT
read -r up _ </proc/uptime
end=$((${up%.*} + $1))
unused=$((${up%.*} + $2))
while [ ! -e /tmp/released ]; do
    read -r up _ </proc/uptime
    [ "${up%.*}" -ge $end ] && break
    if [ "${up%.*}" -ge $unused ]; then
        set -- /tmp/.samply-operator-*
        [ -d "$1" ] || break
    fi
    sleep 1
done
