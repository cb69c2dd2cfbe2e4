-- Pictures may be in a store beside the journal, and journals be replicas of a log.
ALTER TABLE pictures ADD COLUMN stored TEXT;
ALTER TABLE pictures ADD COLUMN length INTEGER;
CREATE TABLE log (
  replica INTEGER PRIMARY KEY CHECK (replica = 1),
  sequence INTEGER NOT NULL,
  hash BLOB NOT NULL,
  epoch INTEGER NOT NULL
) STRICT;
