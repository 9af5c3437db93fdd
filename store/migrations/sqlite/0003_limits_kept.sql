-- What each process keeps to below the hard limits: others wait for those that have not heard of a stricter one yet. The
-- largest number: no limit.
ALTER TABLE owners ADD COLUMN registrations_limit INTEGER NOT NULL DEFAULT 9223372036854775807;
ALTER TABLE owners ADD COLUMN authorizations_limit INTEGER NOT NULL DEFAULT 9223372036854775807;
ALTER TABLE owners ADD COLUMN certificates_limit INTEGER NOT NULL DEFAULT 9223372036854775807;
