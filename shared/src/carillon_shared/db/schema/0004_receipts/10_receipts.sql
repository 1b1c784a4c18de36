-- Receipts of providers.
SELECT;
