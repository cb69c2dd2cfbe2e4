-- Times are seconds since the origin, which is kept in `gateway` as Unix seconds. `lived` counts the
-- seconds that gateways have run on this journal: what is old is deleted by it, so that a clock that
-- is wrong deletes nothing.
--
-- `gateway` holds: `origin`; `time`, that of the latest record; `clock_time` and `clock_wall`, the latest
-- moment that was written down by both clocks; `furthest_time` and `furthest_wall`, that at which the
-- wall clock showed the latest date ever; and `lived`.
CREATE TABLE gateway (
  key TEXT PRIMARY KEY,
  value REAL NOT NULL
) STRICT;

CREATE TABLE requests (
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
  fingerprint BLOB,
  -- The outcome of the end, kept with it; none while the request is live.
  ended TEXT
) STRICT;
CREATE UNIQUE INDEX requests_by_key
  ON requests (owner, idempotency_key) WHERE idempotency_key IS NOT NULL;
-- Each ends in the position, so that one owner's requests are read in order and nobody else's are.
CREATE INDEX requests_by_owner ON requests (owner);
CREATE INDEX requests_live ON requests (owner) WHERE ended IS NULL;
CREATE INDEX requests_ended ON requests (owner, ended) WHERE ended IS NOT NULL;

CREATE TABLE decisions (
  request INTEGER NOT NULL REFERENCES requests (position) ON DELETE CASCADE,
  at REAL NOT NULL,
  cause TEXT NOT NULL,
  server TEXT NOT NULL,
  steps INTEGER NOT NULL,
  start REAL NOT NULL,
  finish REAL NOT NULL,
  policy TEXT NOT NULL,
  shadow_server TEXT,
  shadow_steps INTEGER
) STRICT;
CREATE INDEX decisions_by_request ON decisions (request);

CREATE TABLE runs (
  request INTEGER NOT NULL REFERENCES requests (position) ON DELETE CASCADE,
  attempt INTEGER NOT NULL,
  server TEXT NOT NULL,
  steps INTEGER NOT NULL,
  start REAL NOT NULL,
  service REAL NOT NULL,
  ticket TEXT,
  failed_at REAL,
  reason TEXT,
  -- 1 if its time is not the server's own, so that no speed is learned from it.
  untimed INTEGER NOT NULL DEFAULT 0,
  -- How much of its predicted time is for loading its model first.
  load REAL NOT NULL DEFAULT 0,
  PRIMARY KEY (request, attempt)
) STRICT;

-- The primary key is what makes every end the only one.
CREATE TABLE ends (
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
  reward REAL,
  lived REAL NOT NULL
) STRICT;
CREATE INDEX ends_by_age ON ends (lived);

CREATE TABLE pictures (
  request INTEGER PRIMARY KEY REFERENCES requests (position) ON DELETE CASCADE,
  -- By the time lived.
  kept_until REAL NOT NULL,
  -- Empty where it is in a store beside the journal.
  png BLOB NOT NULL,
  -- Its name there and its length, then.
  stored TEXT,
  length INTEGER
) STRICT;
CREATE INDEX pictures_by_time ON pictures (kept_until);

-- Where the end of a request is to be told; gone once it was.
CREATE TABLE callbacks (
  request INTEGER PRIMARY KEY REFERENCES requests (position) ON DELETE CASCADE,
  url TEXT NOT NULL
) STRICT;

-- How far this journal has followed a log that it is a replica of: one row then, none otherwise.
CREATE TABLE log (
  replica INTEGER PRIMARY KEY CHECK (replica = 1),
  -- Of the latest message that is in here, and the hash of that message.
  sequence INTEGER NOT NULL,
  hash BLOB NOT NULL,
  -- The sequence at which the latest leader began.
  epoch INTEGER NOT NULL
) STRICT;
