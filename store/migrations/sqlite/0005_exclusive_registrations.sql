-- Accounts that one chain holds at a time, over all processes, and that are never shared: for chains that change or end them.
ALTER TABLE registrations ADD COLUMN exclusive INTEGER NOT NULL DEFAULT 0;
ALTER TABLE registrations ADD COLUMN owner INTEGER;
ALTER TABLE registrations ADD COLUMN suspect INTEGER NOT NULL DEFAULT 0;
CREATE INDEX registrations_exclusive ON registrations (ca, owner) WHERE exclusive AND NOT gone;
