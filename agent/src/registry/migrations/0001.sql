-- The registry of keyward, version 1.

CREATE TABLE meta (
    id         INTEGER PRIMARY KEY CHECK (id = 1),
    generation INTEGER NOT NULL CHECK (generation >= 0)
) STRICT;
INSERT INTO meta (id, generation) VALUES (1, 0);

CREATE TABLE token (
    name         TEXT PRIMARY KEY,
    manufacturer TEXT NOT NULL,
    model        TEXT NOT NULL,
    serial       TEXT NOT NULL,
    pinned_at    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE key (
    id              TEXT PRIMARY KEY,
    purpose         TEXT NOT NULL,
    key_type        TEXT NOT NULL,
    state           TEXT NOT NULL,
    created         INTEGER NOT NULL,
    rotation_period INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE key_format (
    key    TEXT NOT NULL REFERENCES key (id),
    format TEXT NOT NULL,
    PRIMARY KEY (key, format)
) STRICT, WITHOUT ROWID;

CREATE TABLE alias (
    name TEXT PRIMARY KEY,
    key  TEXT NOT NULL REFERENCES key (id)
) STRICT, WITHOUT ROWID;
CREATE INDEX alias_of_key ON alias (key);

CREATE TABLE tag (
    key   TEXT NOT NULL REFERENCES key (id),
    name  TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (key, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE version (
    id         TEXT PRIMARY KEY,
    key        TEXT NOT NULL REFERENCES key (id),
    number     INTEGER NOT NULL CHECK (number >= 1),
    state      TEXT NOT NULL,
    created    INTEGER NOT NULL,
    -- A secret key has neither.
    thumbprint TEXT,
    cose_key   BLOB,
    CHECK ((thumbprint IS NULL) = (cose_key IS NULL)),
    UNIQUE (key, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE placement (
    version           TEXT NOT NULL REFERENCES version (id),
    token             TEXT NOT NULL REFERENCES token (name),
    locator           TEXT NOT NULL,
    local             INTEGER NOT NULL CHECK (local IN (0, 1)),
    always_sensitive  INTEGER NOT NULL CHECK (always_sensitive IN (0, 1)),
    never_extractable INTEGER NOT NULL CHECK (never_extractable IN (0, 1)),
    -- The key's own file, encrypted by its device, where it lives in one.
    blob              BLOB,
    -- What it is bound to: PCRs, and the recovery key. CBOR.
    bound             BLOB,
    PRIMARY KEY (version, token)
) STRICT, WITHOUT ROWID;

-- How many uses of an AES-GCM key were reserved. Not part of the registry's digest.
CREATE TABLE seal_count (
    version  TEXT PRIMARY KEY REFERENCES version (id),
    reserved INTEGER NOT NULL CHECK (reserved BETWEEN 0 AND 4294967296)
) STRICT, WITHOUT ROWID;
