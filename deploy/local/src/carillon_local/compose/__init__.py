"""The one-shot steps of `docker-compose.yml`: secrets into volumes, then roles, database and tables."""
