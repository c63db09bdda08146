#!/bin/sh
# Keeps a mounted volume: holds /dev/fuse as descriptor 3, so that the mount, and what waits in it, outlives the engine.
#
#   keeper.sh FOLDER TARGET SOURCE OPTIONS PROGRAM [ARGUMENT ...]
#
# FOLDER is the engine's; TARGET is where SOURCE (a name for the table of mounts) is mounted with OPTIONS (beside fd=3).
# PROGRAM with its arguments and FOLDER is the engine: it is started again whenever it dies, and for good when it ends
# with 0, which it does once the mount is gone. Says "mounted" when it is; ends with 1, saying why, when it cannot be.
# With an empty TARGET nothing is mounted, and the engine only brings to the store what waits in FOLDER.
# TERM ends the engine, and this with it. The arguments are those of the driver, which has checked them.
set -u

folder=$1 target=$2 source=$3 options=$4
shift 4

engine='' ending=''
# Whoever has started this may be gone at any time.
trap '' HUP INT PIPE
trap 'ending=yes; [ -z "$engine" ] || kill -TERM "$engine" 2>/dev/null' TERM

# By these the driver's next life knows this process again: the host's start, and what the kernel says of it. The engine learns
# where it is mounted.
read -r boot </proc/sys/kernel/random/boot_id || exit 1
read -r stat </proc/$$/stat || exit 1
printf '%s\n%s\n%s\n%s\n' "$boot" "$stat" "$target" "$source" >"$folder/keeper" || exit 1

if [ -n "$target" ]; then
  exec 3<>/dev/fuse || exit 1
  # What an engine of an earlier mount has agreed on with the kernel, and lent to it, is not this mount's.
  rm -f "$folder/init.json" "$folder/backing.log"
  mount -i -t fuse -o "fd=3,$options" "$source" "$target" 2>&1 || exit 1
fi
echo mounted
exec >/dev/null

# Hundredths of a second since the host was started, which nobody sets.
uptime() {
  read -r now _ </proc/uptime
  echo "${now%.*}${now#*.}"
}

deaths=0
while [ -z "$ending" ]; do
  begun=$(uptime)
  "$@" "$folder" &
  engine=$!
  # It may have come while there was no engine to be told.
  [ -z "$ending" ] || kill -TERM "$engine" 2>/dev/null
  # A signal ends the waiting, not the engine.
  while
    wait "$engine" 2>/dev/null
    status=$?
    kill -0 "$engine" 2>/dev/null
  do :; done
  [ "$status" -eq 0 ] && exit 0
  printf '{"level":"warn","message":"an engine has ended","folder":"%s","status":%d}\n' "$folder" "$status" >&2
  # One that dies again and again within a second is given time: 0, 0, 0.2, 1, 1, … seconds.
  if [ $(($(uptime) - begun)) -ge 100 ]; then deaths=0; fi
  deaths=$((deaths + 1))
  case $deaths in
  1 | 2) ;;
  3) sleep 0.2 ;;
  *) sleep 1 ;;
  esac
done
exit 1
