"""PostgreSQL: pools with every time limit set, tenant transactions, migrations, the schema itself."""
