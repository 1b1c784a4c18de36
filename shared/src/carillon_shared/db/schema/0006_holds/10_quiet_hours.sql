-- Quiet hours belong to the person: {"windows": [{"from", "to", "days"}], "time_zone"} in the preferences document. The
-- compiled form beside it is what planning reads: it can never say anything else than the document.
ALTER TABLE carillon.preferences
    ADD COLUMN quiet int4multirange GENERATED ALWAYS AS (carillon.quiet_minutes(document->'quiet_hours')) STORED,
    ADD COLUMN quiet_zone text GENERATED ALWAYS AS (document->'quiet_hours'->>'time_zone') STORED;

-- What a type does in somebody's quiet hours. Null: hold.
ALTER TABLE carillon.event_types
    ADD COLUMN quiet_hours text CHECK (quiet_hours IN ('hold', 'pass', 'skip'));
