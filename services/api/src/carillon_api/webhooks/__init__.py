"""Where a tenant's product services are told what became of deliveries."""
