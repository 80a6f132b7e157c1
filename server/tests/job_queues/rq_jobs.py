"""rq, unmodified: jobs that work, fail and are tried again, or wait for their time; each done once.

    rq_jobs.py PORT
"""
import sys
from datetime import timedelta

import redis
from rq import Queue, Retry, SimpleWorker
from rq.registry import FailedJobRegistry, FinishedJobRegistry, ScheduledJobRegistry
from rq.scheduler import RQScheduler
from rq.timeouts import TimerDeathPenalty

PORT = int(sys.argv[1]) if len(sys.argv) > 1 else 6379
JOBS = 100


def count(name):
    return redis.Redis(port=PORT).incr(f"done:{name}")


def fail_twice(name):
    tries = redis.Redis(port=PORT).incr(f"tries:{name}")
    if tries < 3:
        raise ValueError(f"try {tries}")
    return count(name)


class Worker(SimpleWorker):
    # No signals: the worker is this process.
    death_penalty_class = TimerDeathPenalty


def main():
    connection = redis.Redis(port=PORT)
    queue = Queue("work", connection=connection)
    # A worker looks at several queues at once, which with several cores live on different ones.
    others = [Queue(name, connection=connection) for name in ("urgent", "late", "rare")]
    # Named by module: this file is also the one that the worker imports.
    jobs = [queue.enqueue("rq_jobs.count", f"job{n}", result_ttl=1000) for n in range(JOBS)]
    retried = [queue.enqueue("rq_jobs.fail_twice", f"retried{n}", retry=Retry(max=3), result_ttl=1000) for n in range(5)]
    hopeless = queue.enqueue("rq_jobs.no_such_function")
    delayed = [queue.enqueue_in(timedelta(seconds=1), "rq_jobs.count", f"delayed{n}", result_ttl=1000) for n in range(5)]
    dependent = queue.enqueue("rq_jobs.count", "dependent", depends_on=jobs[:3], result_ttl=1000)
    assert len(ScheduledJobRegistry(queue=queue)) == len(delayed)

    elsewhere = [other.enqueue("rq_jobs.count", f"other{n}", result_ttl=1000) for n, other in enumerate(others * 5)]

    worker = Worker([queue, *others], connection=connection)
    scheduler = RQScheduler([queue], connection=connection)
    expected = JOBS + len(retried) + len(delayed) + len(elsewhere) + 1
    while True:
        scheduler.acquire_locks()
        scheduler.enqueue_scheduled_jobs()
        worker.work(burst=True, logging_level="CRITICAL")
        finished = sum(len(FinishedJobRegistry(queue=any_queue)) for any_queue in [queue, *others])
        if finished >= expected:
            break
    done = {key: int(connection.get(key)) for key in connection.keys("done:*")}
    assert len(done) == expected, len(done)
    assert set(done.values()) == {1}, done
    assert all(int(connection.get(f"tries:retried{n}")) == 3 for n in range(5))
    assert FailedJobRegistry(queue=queue).get_job_ids() == [hopeless.id]
    assert dependent.return_value() == 1 and queue.is_empty()
    print(f"rq: {expected} jobs, each done once")


if __name__ == "__main__":
    main()
