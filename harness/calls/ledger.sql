-- The ledger of calls (ledger.py). Times in seconds since 1970, money in dollars.

-- What is kept of a question: a reply, or a final failure, as JSON.
CREATE TABLE IF NOT EXISTS outcomes (key BLOB PRIMARY KEY, stage TEXT NOT NULL, outcome TEXT NOT NULL);

-- Tries that were begun and not settled, with the most they can cost.
CREATE TABLE IF NOT EXISTS in_flight (
    number INTEGER PRIMARY KEY, key BLOB NOT NULL, stage TEXT NOT NULL, endpoint TEXT NOT NULL, model TEXT NOT NULL,
    owner TEXT NOT NULL, started REAL NOT NULL, expires REAL NOT NULL, tokens INTEGER NOT NULL, dollars REAL NOT NULL);

-- Every try that ended.
CREATE TABLE IF NOT EXISTS tries (
    number INTEGER PRIMARY KEY, key BLOB NOT NULL, stage TEXT NOT NULL, endpoint TEXT NOT NULL, model TEXT NOT NULL,
    outcome TEXT NOT NULL, started REAL NOT NULL, ended REAL NOT NULL,
    input_tokens INTEGER NOT NULL, cached_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL,
    dollars REAL NOT NULL, unpriced INTEGER NOT NULL, unseen_tokens INTEGER NOT NULL, unseen_dollars REAL NOT NULL);
CREATE INDEX IF NOT EXISTS tries_by_end ON tries (ended);

-- The sums of tries, kept up to date in the same commit: budgets and progress lines read these.
CREATE TABLE IF NOT EXISTS totals (
    stage TEXT NOT NULL, endpoint TEXT NOT NULL, model TEXT NOT NULL, outcome TEXT NOT NULL,
    tries INTEGER NOT NULL, unpriced INTEGER NOT NULL, seconds REAL NOT NULL,
    input_tokens INTEGER NOT NULL, cached_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL,
    dollars REAL NOT NULL, unseen_tokens INTEGER NOT NULL, unseen_dollars REAL NOT NULL,
    PRIMARY KEY (stage, endpoint, model, outcome)) WITHOUT ROWID;

-- This ledger's own name, and the names of those it has taken over.
CREATE TABLE IF NOT EXISTS identity (one INTEGER PRIMARY KEY CHECK (one = 1), name TEXT NOT NULL);
INSERT OR IGNORE INTO identity VALUES (1, hex(randomblob(16)));
CREATE TABLE IF NOT EXISTS taken (name TEXT PRIMARY KEY, tries INTEGER NOT NULL);

PRAGMA user_version = 1;
