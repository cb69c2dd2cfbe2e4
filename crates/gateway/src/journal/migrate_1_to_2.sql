-- What ended is marked as such, lists of one owner find its rows, and age is the time lived. That
-- begins where the time of the journal stands, so that what is kept from before keeps its age.
ALTER TABLE requests ADD COLUMN ended TEXT;
UPDATE requests SET ended = (SELECT outcome FROM ends WHERE request = position);
CREATE INDEX requests_by_owner ON requests (owner);
CREATE INDEX requests_live ON requests (owner) WHERE ended IS NULL;
CREATE INDEX requests_ended ON requests (owner, ended) WHERE ended IS NOT NULL;

-- Bounds on steps are part of the maximum.
ALTER TABLE decisions DROP COLUMN unbounded;

-- Nothing is known of how earlier runs were timed.
ALTER TABLE runs ADD COLUMN untimed INTEGER NOT NULL DEFAULT 0;

ALTER TABLE ends ADD COLUMN lived REAL NOT NULL DEFAULT 0;
UPDATE ends SET lived = at;
DROP INDEX IF EXISTS ends_by_time;
CREATE INDEX ends_by_age ON ends (lived);

INSERT OR REPLACE INTO gateway
  SELECT 'time', max(
    coalesce((SELECT max(arrival) FROM requests), 0),
    coalesce((SELECT max(at) FROM decisions), 0),
    coalesce((SELECT max(start) FROM runs), 0),
    coalesce((SELECT max(failed_at) FROM runs), 0),
    coalesce((SELECT max(at) FROM ends), 0));
-- Version 1 took its time from the wall clock.
INSERT OR REPLACE INTO gateway SELECT 'clock_time', value FROM gateway WHERE key = 'time';
INSERT OR REPLACE INTO gateway SELECT 'furthest_time', value FROM gateway WHERE key = 'time';
INSERT OR REPLACE INTO gateway SELECT 'lived', value FROM gateway WHERE key = 'time';
INSERT OR REPLACE INTO gateway SELECT 'clock_wall', sum(value) FROM gateway WHERE key IN ('origin', 'time');
INSERT OR REPLACE INTO gateway SELECT 'furthest_wall', value FROM gateway WHERE key = 'clock_wall';
