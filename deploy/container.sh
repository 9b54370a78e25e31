#!/bin/sh
# `recog` as the first process of a container: signals reach it, so that training saves before the container is
# taken away. A training that a signal ended before its recipe was done leaves the file `stopped`; then the
# status is 75, so that what watches over the container starts it again.
recog "$@" &
child=$!
trap 'kill -TERM "$child"' TERM INT
wait "$child"
status=$?
while kill -0 "$child" 2> /dev/null; do # a signal ended the wait, not the child
    wait "$child"
    status=$?
done
workdir=$(printf '%s\n' "$@" | sed -n '/^--workdir$/{n;p}; s/^--workdir=//p')
if [ "$status" -eq 0 ] && [ "$1" = train ] && [ -e "$workdir/stopped" ]; then
    exit 75
fi
exit "$status"
