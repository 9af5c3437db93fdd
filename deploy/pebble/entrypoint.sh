#!/bin/sh
# Starts Pebble with its own HTTPS certificate, made on the first start, so no key is in an image or in the
# repository. The requester trusts the root that signed it, /tls/ca.pem.
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
    # The root signs nothing else.
    rm ca.key server.csr server.ext
    install -m 644 ca.pem server.pem /tls
fi

exec pebble -config /etc/pebble.json "$@"
