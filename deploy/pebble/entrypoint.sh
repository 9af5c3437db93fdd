#!/bin/sh
# Starts Pebble with an HTTPS certificate of its own, made on the first start: no key is part of an image or of the
# repository. The root that signed it, /tls/ca.pem, is what the requester is told to trust.
set -eu

if [ ! -s /tls/server.pem ]; then
    umask 077
    mkdir -p /tls/private
    cd /tls/private
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 \
        -subj "/CN=wile-e-coyote compose root" -addext keyUsage=critical,keyCertSign -keyout ca.key -out ca.pem
    openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes \
        -subj "/CN=pebble" -keyout server.key -out server.csr
    printf 'subjectAltName=DNS:pebble,DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth\nbasicConstraints=CA:FALSE\n' >server.ext
    openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -days 3650 -extfile server.ext -out server.pem
    # Nothing else is ever signed with it.
    rm ca.key server.csr server.ext
    install -m 644 ca.pem server.pem /tls
fi

exec pebble -config /etc/pebble.json "$@"
