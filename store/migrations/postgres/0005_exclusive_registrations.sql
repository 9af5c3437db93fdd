-- Accounts that one chain holds at a time, over all processes, and that are never shared: for chains that change or end them.
ALTER TABLE registrations ADD COLUMN exclusive BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE registrations ADD COLUMN owner BIGINT;
ALTER TABLE registrations ADD COLUMN suspect BOOLEAN NOT NULL DEFAULT FALSE;
CREATE INDEX registrations_exclusive ON registrations (ca, owner, id) WHERE exclusive AND NOT gone;
