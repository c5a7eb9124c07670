# The main process of an ephemeral container: keeps it there while it is used, and not longer.
# $1 seconds until it ends by itself, whatever happened to the operator
set -u
trap 'exit 0' TERM INT
read -r up _ </proc/uptime
end=$((${up%.*} + $1))
while [ ! -e /tmp/released ]; do
    read -r up _ </proc/uptime
    [ "${up%.*}" -ge $end ] && break
    sleep 1
done
