# How far is a recording that was left alone? Prints `folder yes|no`, `alive yes|no`, `clock` (uptime in centiseconds),
# then its events, then samply's log.
# $1 folder
set -u
cd "$1" 2>/dev/null || { echo 'folder no'; exit 0; }
echo 'folder yes'
alive=no
# Its shell writes its own number right after it made the folder: one without is just being made.
n=0
until [ -s shell ] || [ $n -ge 20 ]; do
    sleep 0.1 2>/dev/null || sleep 1
    n=$((n + 1))
done
for who in shell samply timer; do
    if read -r id was 2>/dev/null <$who && IFS= read -r line 2>/dev/null <"/proc/$id/stat"; then
        set -- ${line##*) }
        [ "${20}" = "$was" ] && [ "$1" != Z ] && alive=yes
    fi
done
echo "alive $alive"
read -r up _ </proc/uptime
echo "clock ${up%.*}${up#*.}"
cat events 2>/dev/null
echo '-- log'
tail -c 4096 err 2>/dev/null
:
