-- Where the CA offers the certificate for download; empty for those stored before this column.
ALTER TABLE certificates ADD COLUMN url TEXT NOT NULL DEFAULT '';
