-- Requests may say where their end is to be told.
CREATE TABLE callbacks (
  request INTEGER PRIMARY KEY REFERENCES requests (position) ON DELETE CASCADE,
  url TEXT NOT NULL
) STRICT;
