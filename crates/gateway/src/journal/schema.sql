-- Times are seconds since the origin, which is kept in `gateway` as Unix seconds.
CREATE TABLE IF NOT EXISTS gateway (
  key TEXT PRIMARY KEY,
  value REAL NOT NULL
) STRICT;

CREATE TABLE IF NOT EXISTS requests (
  position INTEGER PRIMARY KEY AUTOINCREMENT,
  id BLOB NOT NULL UNIQUE,
  owner TEXT NOT NULL,
  arrival REAL NOT NULL,
  due REAL NOT NULL,
  expires REAL NOT NULL,
  penalty TEXT NOT NULL,
  pixels INTEGER NOT NULL,
  min_steps INTEGER NOT NULL,
  max_steps INTEGER NOT NULL,
  spec TEXT NOT NULL,
  idempotency_key TEXT,
  fingerprint BLOB
) STRICT;
CREATE UNIQUE INDEX IF NOT EXISTS requests_by_key
  ON requests (owner, idempotency_key) WHERE idempotency_key IS NOT NULL;

CREATE TABLE IF NOT EXISTS decisions (
  request INTEGER NOT NULL REFERENCES requests (position) ON DELETE CASCADE,
  at REAL NOT NULL,
  cause TEXT NOT NULL,
  server TEXT NOT NULL,
  steps INTEGER NOT NULL,
  start REAL NOT NULL,
  finish REAL NOT NULL,
  unbounded INTEGER, -- no longer written: bounds on steps are part of the maximum
  policy TEXT NOT NULL,
  shadow_server TEXT,
  shadow_steps INTEGER
) STRICT;
CREATE INDEX IF NOT EXISTS decisions_by_request ON decisions (request);

CREATE TABLE IF NOT EXISTS runs (
  request INTEGER NOT NULL REFERENCES requests (position) ON DELETE CASCADE,
  attempt INTEGER NOT NULL,
  server TEXT NOT NULL,
  steps INTEGER NOT NULL,
  start REAL NOT NULL,
  service REAL NOT NULL,
  ticket TEXT,
  failed_at REAL,
  reason TEXT,
  PRIMARY KEY (request, attempt)
) STRICT;

-- The primary key is what makes every end the only one.
CREATE TABLE IF NOT EXISTS ends (
  request INTEGER PRIMARY KEY REFERENCES requests (position) ON DELETE CASCADE,
  at REAL NOT NULL,
  outcome TEXT NOT NULL,
  reason TEXT,
  server TEXT,
  steps INTEGER,
  start REAL,
  attempts INTEGER NOT NULL,
  tardiness REAL NOT NULL,
  quality REAL,
  reward REAL
) STRICT;

CREATE INDEX IF NOT EXISTS ends_by_time ON ends (at);

CREATE TABLE IF NOT EXISTS pictures (
  request INTEGER PRIMARY KEY REFERENCES requests (position) ON DELETE CASCADE,
  kept_until REAL NOT NULL,
  png BLOB NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS pictures_by_time ON pictures (kept_until);
