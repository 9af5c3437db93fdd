-- Accounts that the CA does not know any more. They count as made: it has been asked for them.
ALTER TABLE registrations ADD COLUMN gone BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE cas ADD COLUMN registrations_gone BIGINT NOT NULL DEFAULT 0;
