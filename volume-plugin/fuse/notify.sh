#!/bin/sh
# Tells the kernel what an engine has to say unasked: each line, in printf(1)'s escapes, is one message for descriptor 3.
# The kernel may keep the writer waiting until the engine has answered something else: so it is neither the engine itself, nor
# one of its threads, which could not die then. Ends when the engine does. Messages about what the kernel does not know fail,
# which is no concern.
exec 1>&3 2>/dev/null
while IFS= read -r message; do
  # shellcheck disable=SC2059
  printf "$message" || :
done
