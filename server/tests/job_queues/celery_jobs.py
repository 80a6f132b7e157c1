"""celery, unmodified, with Slotcore as broker and as store of results: tasks that work, fail and are tried again, wait for
their time, or belong together in a chord; each done once.

    celery_jobs.py PORT

A worker waits for several queues at once, each of several lists for its priorities: with several cores they live on different
ones, and no hash tag keeps them together.
"""
import os
import sys

import redis
from celery import Celery, chord, group
from celery.contrib.testing.worker import start_worker
from kombu import Queue

PORT = int(sys.argv[1]) if len(sys.argv) > 1 else 6379
URL = f"redis://127.0.0.1:{PORT}/0"
TASKS = 100
PATIENCE_S = 120
QUEUES = ["counts", "retries", "totals", "others"]

os.environ.setdefault("TZ", "UTC")
app = Celery("jobs", broker=URL, backend=URL)
app.conf.update(broker_connection_retry_on_startup=True, task_acks_late=True, result_expires=3600)
app.conf.task_queues = [Queue(name) for name in QUEUES]
app.conf.task_default_queue = "others"


@app.task(queue="counts")
def count(name):
    return redis.Redis(port=PORT).incr(f"done:{name}")


@app.task(bind=True, max_retries=3, queue="retries")
def fail_twice(self, name):
    if redis.Redis(port=PORT).incr(f"tries:{name}") < 3:
        raise self.retry(countdown=0)
    return count(name)


@app.task(queue="totals")
def total(numbers):
    return sum(numbers)


def main():
    with start_worker(app, pool="threads", concurrency=4, perform_ping_check=False, loglevel="CRITICAL"):
        plain = [count.delay(f"task{n}") for n in range(TASKS)]
        retried = [fail_twice.delay(f"retried{n}") for n in range(5)]
        delayed = [count.apply_async((f"delayed{n}",), countdown=1) for n in range(5)]
        together = chord(group(count.s(f"part{n}") for n in range(10)))(total.s())
        for result in plain + retried + delayed:
            assert result.get(timeout=PATIENCE_S) == 1
        assert together.get(timeout=PATIENCE_S) == 10
    client = redis.Redis(port=PORT)
    done = {key: int(client.get(key)) for key in client.keys("done:*")}
    assert len(done) == TASKS + 20 and set(done.values()) == {1}, done
    assert all(client.llen(name) == 0 for name in QUEUES) and client.hlen("unacked") == 0
    print(f"celery: {len(done)} tasks, each done once")


if __name__ == "__main__":
    main()
