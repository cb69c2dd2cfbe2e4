-- Runs may load a model first. Earlier ones had none to load; the model of a request stands in its spec.
ALTER TABLE runs ADD COLUMN load REAL NOT NULL DEFAULT 0;
