#!/bin/sh
# The first process of the plugin's container: with it everything in there ends, so nothing may happen to it.
#
#   first.sh PROGRAM [ARGUMENT ...]
#
# PROGRAM is the driver. When it is killed, or ends with an error, it is started again, and finds the mounts of volumes, which
# their keepers hold, as it has left them. TERM and INT are passed on to it; this ends when it does then, or when it ends with 0.
# What fails within ten seconds of the first start, without a signal, has wrong settings: that is told by ending.
# Processes that have lost their parents are this one's: waiting for the driver buries them.
set -u

driver='' ending=''
trap 'ending=yes; [ -z "$driver" ] || kill -TERM "$driver" 2>/dev/null' TERM INT

lives=0
# Hundredths of a second since the host was started, which nobody sets.
uptime() {
  read -r now _ </proc/uptime
  echo "${now%.*}${now#*.}"
}

deaths=0
while :; do
  begun=$(uptime)
  "$@" &
  driver=$!
  lives=$((lives + 1))
  # It may have come while there was no driver to be told.
  [ -z "$ending" ] || kill -TERM "$driver" 2>/dev/null
  # A signal ends the waiting, not the driver.
  while
    wait "$driver" 2>/dev/null
    status=$?
    kill -0 "$driver" 2>/dev/null
  do :; done
  lived=$(($(uptime) - begun))
  if [ "$status" -eq 0 ] || [ -n "$ending" ]; then exit "$status"; fi
  if [ "$lives" -eq 1 ] && [ "$status" -lt 128 ] && [ "$lived" -le 1000 ]; then exit "$status"; fi
  printf '{"level":"error","message":"the driver has ended, and is started again","status":%d}\n' "$status" >&2
  # One that dies again and again within a second is given time: 0, 0, 0.2, 1, 1, … seconds.
  if [ "$lived" -ge 100 ]; then deaths=0; fi
  deaths=$((deaths + 1))
  case $deaths in
  1 | 2) ;;
  3) sleep 0.2 ;;
  *) sleep 1 ;;
  esac
done
