#!/bin/sh
# Removes what a cluster leaves on the machine as soon as its standard input ends, and so with whoever holds the other
# end of that, however that ended.
#
#   janitor.sh DIRECTORY   the cluster's directory, whose name is the name of its control groups as well
#
# With PORTCULLIS_E2E_KEEP set, the directory stays, for its logs.
set -eu
directory=$1

cat >/dev/null
[ -n "${PORTCULLIS_E2E_KEEP:-}" ] || rm -rf -- "$directory"

# A control group goes only after its last process, and those are on their way out: ten seconds are plenty.
for _ in $(seq 100); do
    left=$(find /sys/fs/cgroup -depth -type d -path "*/${directory##*/}*" 2>/dev/null || true)
    [ -n "$left" ] || exit 0
    # shellcheck disable=SC2086 # the list is meant to be split
    rmdir $left 2>/dev/null || sleep 0.1
done
