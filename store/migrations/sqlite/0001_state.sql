-- What the CAs did, and which process may use it. See docs/state.md.

-- Owner numbers are never given twice, not even after their rows are gone: object ids begin with them.
CREATE TABLE meta (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    last_owner INTEGER NOT NULL
);
INSERT INTO meta (one, last_owner) VALUES (1, 0);

-- One row a directory URL. "Made" counts for the hard limits and never falls.
CREATE TABLE cas (
    id INTEGER PRIMARY KEY,
    directory TEXT NOT NULL UNIQUE,
    registrations_made INTEGER NOT NULL DEFAULT 0,
    authorizations_made INTEGER NOT NULL DEFAULT 0,
    certificates_made INTEGER NOT NULL DEFAULT 0,
    orders_ready INTEGER NOT NULL DEFAULT 0,
    certificates_live INTEGER NOT NULL DEFAULT 0,
    certificates_revoked INTEGER NOT NULL DEFAULT 0
);

-- One row a living process. "Reserved" is what it may still make below the hard limits.
CREATE TABLE owners (
    id INTEGER PRIMARY KEY,
    ca INTEGER NOT NULL,
    place TEXT NOT NULL,
    expires_ms INTEGER NOT NULL,
    registrations_reserved INTEGER NOT NULL DEFAULT 0,
    authorizations_reserved INTEGER NOT NULL DEFAULT 0,
    certificates_reserved INTEGER NOT NULL DEFAULT 0,
    hungry INTEGER NOT NULL DEFAULT 0
);

CREATE TABLE registrations (
    id INTEGER PRIMARY KEY,
    ca INTEGER NOT NULL,
    url TEXT NOT NULL,
    key BLOB NOT NULL,
    contact TEXT NOT NULL
);
CREATE INDEX registrations_of_ca ON registrations (ca);

-- state: 0 ready, 1 issued, 2 failed.
CREATE TABLE orders (
    id INTEGER PRIMARY KEY,
    ca INTEGER NOT NULL,
    registration INTEGER NOT NULL,
    url TEXT NOT NULL,
    finalize_url TEXT NOT NULL,
    names TEXT NOT NULL,
    expires INTEGER NOT NULL,
    state INTEGER NOT NULL DEFAULT 0,
    suspect INTEGER NOT NULL DEFAULT 0,
    owner INTEGER,
    note TEXT
);
CREATE INDEX orders_ready ON orders (ca, owner) WHERE state = 0;

-- The issuers' certificates as downloaded; the id is the beginning of their SHA-256.
CREATE TABLE chains (
    id INTEGER PRIMARY KEY,
    pem BLOB NOT NULL
);

-- state: 0 live, 1 replaced, 2 revoked, 3 gone.
CREATE TABLE certificates (
    id INTEGER PRIMARY KEY,
    ca INTEGER NOT NULL,
    registration INTEGER NOT NULL,
    issuer TEXT NOT NULL,
    serial TEXT NOT NULL,
    ari_id TEXT NOT NULL,
    names TEXT NOT NULL,
    leaf BLOB NOT NULL,
    chain INTEGER NOT NULL,
    key BLOB NOT NULL,
    not_before INTEGER NOT NULL,
    not_after INTEGER NOT NULL,
    state INTEGER NOT NULL DEFAULT 0,
    suspect INTEGER NOT NULL DEFAULT 0,
    owner INTEGER,
    reason INTEGER,
    note TEXT
);
CREATE UNIQUE INDEX certificates_serial ON certificates (ca, issuer, serial);
CREATE INDEX certificates_live ON certificates (ca, owner) WHERE state = 0;
