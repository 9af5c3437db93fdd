-- What the CAs did, and which process may use it. See docs/state.md.

-- Owner numbers are never given twice, not even after their rows are gone: object ids begin with them.
CREATE TABLE meta (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    last_owner BIGINT NOT NULL
);
INSERT INTO meta (one, last_owner) VALUES (1, 0);

-- One row a directory URL. "Made" counts for the hard limits and never falls.
CREATE TABLE cas (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    directory TEXT NOT NULL UNIQUE,
    registrations_made BIGINT NOT NULL DEFAULT 0,
    authorizations_made BIGINT NOT NULL DEFAULT 0,
    certificates_made BIGINT NOT NULL DEFAULT 0,
    orders_ready BIGINT NOT NULL DEFAULT 0,
    certificates_live BIGINT NOT NULL DEFAULT 0,
    certificates_revoked BIGINT NOT NULL DEFAULT 0
);

-- One row a living process. "Reserved" is what it may still make below the hard limits.
CREATE TABLE owners (
    id BIGINT PRIMARY KEY,
    ca BIGINT NOT NULL,
    place TEXT NOT NULL,
    expires_ms BIGINT NOT NULL,
    registrations_reserved BIGINT NOT NULL DEFAULT 0,
    authorizations_reserved BIGINT NOT NULL DEFAULT 0,
    certificates_reserved BIGINT NOT NULL DEFAULT 0,
    hungry BIGINT NOT NULL DEFAULT 0
);

CREATE TABLE registrations (
    id BIGINT PRIMARY KEY,
    ca BIGINT NOT NULL,
    url TEXT NOT NULL,
    key BYTEA NOT NULL,
    contact TEXT NOT NULL
);
CREATE INDEX registrations_of_ca ON registrations (ca, id);

-- state: 0 ready, 1 issued, 2 failed.
CREATE TABLE orders (
    id BIGINT PRIMARY KEY,
    ca BIGINT NOT NULL,
    registration BIGINT NOT NULL,
    url TEXT NOT NULL,
    finalize_url TEXT NOT NULL,
    names TEXT NOT NULL,
    expires BIGINT NOT NULL,
    state SMALLINT NOT NULL DEFAULT 0,
    suspect BOOLEAN NOT NULL DEFAULT FALSE,
    owner BIGINT,
    note TEXT
);
CREATE INDEX orders_ready ON orders (ca, owner, id) WHERE state = 0;

-- The issuers' certificates as downloaded; the id is the beginning of their SHA-256.
CREATE TABLE chains (
    id BIGINT PRIMARY KEY,
    pem BYTEA NOT NULL
);

-- state: 0 live, 1 replaced, 2 revoked, 3 gone.
CREATE TABLE certificates (
    id BIGINT PRIMARY KEY,
    ca BIGINT NOT NULL,
    registration BIGINT NOT NULL,
    issuer TEXT NOT NULL,
    serial TEXT NOT NULL,
    ari_id TEXT NOT NULL,
    names TEXT NOT NULL,
    leaf BYTEA NOT NULL,
    chain BIGINT NOT NULL,
    key BYTEA NOT NULL,
    not_before BIGINT NOT NULL,
    not_after BIGINT NOT NULL,
    state SMALLINT NOT NULL DEFAULT 0,
    suspect BOOLEAN NOT NULL DEFAULT FALSE,
    owner BIGINT,
    reason SMALLINT,
    note TEXT
);
CREATE UNIQUE INDEX certificates_serial ON certificates (ca, issuer, serial);
CREATE INDEX certificates_live ON certificates (ca, owner, id) WHERE state = 0;
