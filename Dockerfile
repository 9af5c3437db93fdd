# Every container of the project, one target each:
#
#   dnsmasq redis postgres etcd pebble      servers that the services use
#   challenge-server requester analytics    our services
#
# Only instructions that the classic builder supports. It builds the stages from the top down to the target, so the
# quick ones come first.

# ---- servers that the services use ----------------------------------------------------------------------------------

FROM debian:bookworm-slim AS dnsmasq
RUN apt-get update \
    && apt-get install -y --no-install-recommends dnsmasq-base \
    && rm -rf /var/lib/apt/lists/*
COPY dnsmasq/dnsmasq.conf /etc/dnsmasq.conf
USER nobody
EXPOSE 53/udp 53/tcp
ENTRYPOINT ["dnsmasq"]
# Uses the container's resolver, which the compose file sets to dnsmasq itself.
HEALTHCHECK --interval=2s --timeout=3s --retries=30 CMD ["getent", "ahostsv4", "health.test"]

FROM redis:7-bookworm AS redis
USER redis
# Challenge data is needed for seconds, so nothing is written to disk. The compose network restricts who can connect.
CMD ["redis-server", "--save", "", "--appendonly", "no", "--protected-mode", "no"]
HEALTHCHECK --interval=2s --timeout=3s --retries=30 CMD ["redis-cli", "ping"]

FROM postgres:15-bookworm AS postgres
USER postgres
HEALTHCHECK --interval=2s --timeout=3s --retries=60 CMD pg_isready --host=127.0.0.1 --username="$POSTGRES_USER" --dbname="$POSTGRES_DB"

FROM debian:bookworm-slim AS etcd
RUN apt-get update \
    && apt-get install -y --no-install-recommends etcd-server etcd-client \
    && rm -rf /var/lib/apt/lists/* \
    && install -d -o etcd -g etcd -m 700 /var/lib/etcd/board
USER etcd
EXPOSE 2379
ENV ETCDCTL_API=3
ENTRYPOINT ["etcd", "--data-dir=/var/lib/etcd/board", "--listen-client-urls=http://0.0.0.0:2379"]
CMD ["--advertise-client-urls=http://etcd:2379"]
HEALTHCHECK --interval=2s --timeout=3s --retries=30 CMD ["etcdctl", "endpoint", "health"]

FROM debian:bookworm-slim AS pebble
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates curl openssl pebble \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10002 pebble \
    && install -d -o pebble -g pebble /tls
COPY deploy/pebble/pebble.json /etc/pebble.json
COPY deploy/pebble/entrypoint.sh /usr/local/bin/entrypoint.sh
USER pebble
VOLUME /tls
EXPOSE 14000
ENTRYPOINT ["entrypoint.sh"]
HEALTHCHECK --interval=2s --timeout=3s --retries=30 CMD ["curl", "-fsS", "--cacert", "/tls/ca.pem", "-o", "/dev/null", "https://localhost:14000/dir"]

# ---- our services, built once ---------------------------------------------------------------------------------------

# Dependencies from the manifests alone, so that a change of our code does not compile them again. The crates are
# empty here, targets that a manifest names ([[bin]], [[bench]]) are removed, and build scripts are empty, so that only
# their dependencies are compiled.
FROM rust:1.95-bookworm AS dependencies
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY acme/Cargo.toml acme/
COPY analytics/Cargo.toml analytics/
COPY board/Cargo.toml board/
COPY chains/Cargo.toml chains/
COPY challenge-server/Cargo.toml challenge-server/
COPY clock/Cargo.toml clock/
COPY consumer/Cargo.toml consumer/
COPY delivery/Cargo.toml delivery/
COPY listen/Cargo.toml listen/
COPY log/Cargo.toml log/
COPY observe/Cargo.toml observe/
COPY outbound/Cargo.toml outbound/
COPY node-stats/Cargo.toml node-stats/
COPY null-ca/Cargo.toml null-ca/
COPY pki/Cargo.toml pki/
COPY proto/Cargo.toml proto/
COPY record/Cargo.toml record/
COPY report/Cargo.toml report/
COPY requester/Cargo.toml requester/
COPY startup/Cargo.toml startup/
COPY store/Cargo.toml store/
COPY testbed/Cargo.toml testbed/
COPY text/Cargo.toml text/
COPY figures/Cargo.toml figures/
COPY fleet/Cargo.toml fleet/
COPY model/Cargo.toml model/
COPY wec/Cargo.toml wec/
RUN for crate in */Cargo.toml; do \
        crate=${crate%/Cargo.toml}; mkdir "$crate/src"; touch "$crate/src/lib.rs"; \
        echo 'fn main() {}' >"$crate/build.rs"; \
        sed -i '/^\[\[/,/^\[[^[]/{/^\[[^[]/!d}' "$crate/Cargo.toml"; \
    done \
    && cargo build --profile dist --locked --lib \
        --package wec-requester --package wec-challenge-server --package wec-analytics \
    && rm -r */src */build.rs

FROM node:20-bookworm AS node

FROM dependencies AS build
# The build script of analytics builds the page; without this a missing Node would only be a warning.
ENV WEC_UI=require
COPY --from=node /usr/local/bin/node /usr/local/bin/
COPY --from=node /usr/local/lib/node_modules/npm /usr/local/lib/node_modules/npm
RUN ln -s ../lib/node_modules/npm/bin/npm-cli.js /usr/local/bin/npm
COPY acme acme
COPY analytics analytics
COPY board board
COPY chains chains
COPY challenge-server challenge-server
COPY clock clock
COPY consumer consumer
COPY delivery delivery
COPY listen listen
COPY log log
COPY observe observe
COPY outbound outbound
COPY node-stats node-stats
COPY null-ca null-ca
COPY pki pki
COPY proto proto
COPY record record
COPY report report
COPY requester requester
COPY startup startup
COPY store store
COPY testbed testbed
COPY text text
COPY figures figures
COPY fleet fleet
COPY model model
COPY wec wec
# For --version: the build context has no git repository.
ARG WEC_COMMIT=
# The empty crates are newer than the real sources; without the touch cargo would keep their build output.
RUN find . -path ./target -prune -o -name '*.rs' -exec touch {} + \
    && cargo build --profile dist --locked --bins \
        --package wec-requester --package wec-challenge-server --package wec-analytics --package wec \
    && install -D -t /out target/dist/wec-requester target/dist/wec-challenge-server target/dist/wec-analytics \
        target/dist/wec

FROM debian:bookworm-slim AS runtime
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --create-home wec
# Logs of containers are read through other programs, which may not support colours.
ENV NO_COLOR=1
COPY deploy/probe /usr/local/bin/probe

FROM runtime AS challenge-server
COPY --from=build /out/wec-challenge-server /usr/local/bin/
USER wec
EXPOSE 53/udp 53/tcp 80 443
ENTRYPOINT ["wec-challenge-server"]
HEALTHCHECK --interval=2s --timeout=3s --retries=30 CMD ["probe", "listening", "53", "80", "443"]

FROM runtime AS requester
COPY --from=build /out/wec-requester /usr/local/bin/
RUN install -d -o wec -g wec /var/lib/wec
USER wec
WORKDIR /var/lib/wec
ENTRYPOINT ["wec-requester"]

FROM runtime AS agent
COPY --from=build /out/wec /usr/local/bin/
RUN install -d -o wec -g wec /var/lib/wec
USER wec
WORKDIR /var/lib/wec
ENTRYPOINT ["wec", "agent"]
HEALTHCHECK --interval=2s --timeout=3s --retries=30 CMD ["probe", "http", "7071", "/healthz"]

FROM runtime AS analytics
COPY --from=build /out/wec-analytics /usr/local/bin/
COPY deploy/analytics/entrypoint.sh /usr/local/bin/entrypoint.sh
RUN install -d -o wec -g wec /results
VOLUME /results
EXPOSE 8089
ENTRYPOINT ["entrypoint.sh"]
HEALTHCHECK --interval=2s --timeout=3s --retries=30 CMD ["probe", "http", "8089", "/healthz"]
