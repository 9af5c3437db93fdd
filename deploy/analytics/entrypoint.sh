#!/bin/sh
# The log goes into a folder of the host, and shall belong to whoever that folder belongs to. So this starts as root,
# becomes that user at once, and only then runs the service. A folder that root owns (Docker made it, or the checkout
# is root's) is given to the image's own user.
set -eu

if [ "$(id -u)" = 0 ]; then
    if [ "$(stat -c %u /results)" = 0 ]; then
        chown wec:wec /results
    fi
    exec setpriv --reuid="$(stat -c %u /results)" --regid="$(stat -c %g /results)" --clear-groups --no-new-privs \
        -- wec-analytics "$@"
fi
exec wec-analytics "$@"
