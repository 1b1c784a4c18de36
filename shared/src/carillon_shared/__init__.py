"""What every Carillon service shares: domain, contracts, topology, broker, database, worker engine."""
