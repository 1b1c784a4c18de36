-- What every mail of a tenant looks like: its brand, and a layout by language that templates are put into.
ALTER TABLE carillon.tenants
    ADD COLUMN brand jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(brand) = 'object');

CREATE TABLE carillon.layouts (
    tenant_id   integer NOT NULL REFERENCES carillon.tenants (id),
    locale      text NOT NULL,
    html        text NOT NULL,
    text        text,
    updated_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, locale)
);

ALTER TABLE carillon.layouts ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_tenant ON carillon.layouts TO carillon_api
    USING (tenant_id = carillon.current_tenant()) WITH CHECK (tenant_id = carillon.current_tenant());
CREATE POLICY all_tenants ON carillon.layouts
    TO carillon_email_worker, carillon_whatsapp_worker, carillon_inapp_worker USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON carillon.layouts TO carillon_api;
GRANT SELECT ON carillon.layouts TO carillon_email_worker, carillon_whatsapp_worker, carillon_inapp_worker;
GRANT UPDATE (brand) ON carillon.tenants TO carillon_api;
