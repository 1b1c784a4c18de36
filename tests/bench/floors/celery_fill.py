"""Publishes one task for each line of standard input."""

import json
import sys

from bench.floors.celery_app import app, deliver

if __name__ == "__main__":
    with app.producer_pool.acquire(block=True) as producer:
        for line in sys.stdin:
            deliver.apply_async(kwargs=json.loads(line), producer=producer)
