-- How long newOrder to ready took, nanoseconds; NULL where it was not measured.
ALTER TABLE orders ADD COLUMN authorize_ns BIGINT;
