-- Accounts that the CA does not know any more. They count as made: it has been asked for them.
ALTER TABLE registrations ADD COLUMN gone INTEGER NOT NULL DEFAULT 0;
ALTER TABLE cas ADD COLUMN registrations_gone INTEGER NOT NULL DEFAULT 0;
