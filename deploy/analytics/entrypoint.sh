#!/bin/sh
# The log is in a folder of the host and must belong to the owner of that folder. So this script starts as root,
# changes to that user, and then runs the service. If root owns the folder (Docker created it, or the checkout
# belongs to root), the image's own user becomes its owner.
set -eu

if [ "$(id -u)" = 0 ]; then
    if [ "$(stat -c %u /results)" = 0 ]; then
        chown wec:wec /results
    fi
    exec setpriv --reuid="$(stat -c %u /results)" --regid="$(stat -c %g /results)" --clear-groups --no-new-privs \
        -- wec-analytics "$@"
fi
exec wec-analytics "$@"
