-- As version 1 made them.
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
  unbounded INTEGER,
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

INSERT INTO gateway VALUES ('origin', 1000.0);
INSERT INTO requests VALUES
  (1, x'00000000000000000000000000000001', 'ann', 10.0, 22.0, 3622.0, 'linear', 4096, 1, 200,
   '{"prompt":"x","negative_prompt":"","width":64,"height":64,"seed":1}', 'k1', zeroblob(32)),
  (2, x'00000000000000000000000000000002', 'ann', 50.0, 72.0, 3672.0, 'linear', 4096, 1, 200,
   '{"prompt":"x","negative_prompt":"","width":64,"height":64,"seed":1}', NULL, NULL),
  (3, x'00000000000000000000000000000003', 'ann', 60.0, 72.0, 3672.0, 'linear', 4096, 1, 200,
   '{"prompt":"x","negative_prompt":"","width":64,"height":64,"seed":1}', NULL, NULL);
INSERT INTO decisions VALUES (1, 10.0, 'arrival', 's0', 30, 10.0, 40.0, NULL, 'greedy', NULL, NULL);
INSERT INTO runs VALUES
  (1, 1, 's0', 30, 10.0, 30.0, NULL, NULL, NULL),
  (2, 1, 's0', 30, 70.0, 30.0, NULL, NULL, NULL),
  (3, 1, 's1', 30, 70.0, 30.0, NULL, 77.5, 'status 500');
INSERT INTO ends VALUES (1, 40.0, 'completed', NULL, 's0', 30, 10.0, 1, 18.0, 30.5, 12.5);
INSERT INTO pictures VALUES (1, 90.0, x'89504e47');
