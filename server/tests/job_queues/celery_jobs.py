"""celery, unmodified, with Slotcore as broker and as store of results: tasks that work, fail and are tried again, wait for
their time, or belong together in a chord; each done once.

    celery_jobs.py PORT

A worker waits for several lists at once, which must live on one core: the hash tag in the prefix sees to it, as with any
cluster.
"""
import os
import sys

import redis
from celery import Celery, chord, group
from celery.contrib.testing.worker import start_worker

PORT = int(sys.argv[1]) if len(sys.argv) > 1 else 6379
URL = f"redis://127.0.0.1:{PORT}/0"
TASKS = 100
PATIENCE_S = 120
PREFIX = "{jobs}:"

os.environ.setdefault("TZ", "UTC")
app = Celery("jobs", broker=URL, backend=URL)
app.conf.update(broker_connection_retry_on_startup=True, task_acks_late=True, result_expires=3600)
app.conf.broker_transport_options = app.conf.result_backend_transport_options = {"global_keyprefix": PREFIX}


@app.task
def count(name):
    return redis.Redis(port=PORT).incr(f"done:{name}")


@app.task(bind=True, max_retries=3)
def fail_twice(self, name):
    if redis.Redis(port=PORT).incr(f"tries:{name}") < 3:
        raise self.retry(countdown=0)
    return count(name)


@app.task
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
    assert client.llen(f"{PREFIX}celery") == 0 and client.hlen(f"{PREFIX}unacked") == 0
    print(f"celery: {len(done)} tasks, each done once")


if __name__ == "__main__":
    main()
