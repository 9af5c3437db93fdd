-- The certificate profile that newOrder named; empty without one.
ALTER TABLE orders ADD COLUMN profile TEXT NOT NULL DEFAULT '';
