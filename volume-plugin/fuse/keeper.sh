#!/bin/sh
# Keeps a mounted volume: holds /dev/fuse as descriptor 3, so that the mount, and what waits in it, outlives the engine.
#
#   keeper.sh FOLDER TARGET SOURCE OPTIONS PROGRAM [ARGUMENT ...]
#
# FOLDER is the engine's; TARGET is where SOURCE (a name for the table of mounts) is mounted with OPTIONS (beside fd=3).
# PROGRAM with its arguments and FOLDER is the engine: it is started again whenever it dies, and for good when it ends
# with 0, which it does once the mount is gone. Says "mounted" when it is; ends with 1 when it cannot be.
# Without TARGET (an empty one) nothing is mounted, and the engine only brings to the store what waits in FOLDER.
# The arguments are those of the driver, which has checked them.
set -u

folder=$1 target=$2 source=$3 options=$4
shift 4

if [ -n "$target" ]; then
  exec 3<>/dev/fuse || exit 1
  # What an engine of an earlier mount has agreed on with the kernel, and lent to it, is not this mount's.
  rm -f "$folder/init.json" "$folder/backing.log"
  mount -i -t fuse -o "fd=3,$options" "$source" "$target" || exit 1
fi
echo mounted
# Whoever has started this may be gone at any time.
exec >/dev/null

# Signals are for the engine; this ends when it does. The driver ends a keeper by unmounting.
trap '' HUP INT PIPE
trap 'kill -TERM "$engine" 2>/dev/null' TERM

deaths=0
while :; do
  begun=$(date +%s)
  "$@" "$folder" &
  engine=$!
  # A signal ends the waiting, not the engine.
  while :; do
    wait "$engine"
    status=$?
    kill -0 "$engine" 2>/dev/null || break
  done
  [ "$status" -eq 0 ] && exit 0
  # One that dies again and again within a second is given time: 0, 0, 0.2, 1, 1, … seconds.
  if [ $(($(date +%s) - begun)) -ge 1 ]; then deaths=0; fi
  deaths=$((deaths + 1))
  case $deaths in
  1 | 2) ;;
  3) sleep 0.2 ;;
  *) sleep 1 ;;
  esac
done
