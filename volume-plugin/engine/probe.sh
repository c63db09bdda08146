#!/bin/sh
# Ends with 0 when the file system that is mounted at the folder TARGET answers. It is a process of its own, for it waits as
# long as that does not.
#
#   probe.sh TARGET
cd -- "$1"
