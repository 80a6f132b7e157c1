// bee-queue, unmodified: jobs that work, fail and are tried again, or wait for their time; each done once.
//
//     node bee_queue.js PORT
//
// Its scripts name several keys of one queue, which a hash tag in the prefix keeps on one core.
'use strict';
const assert = require('assert');
const Queue = require('bee-queue');

const JOBS = 100;
const PATIENCE_MS = 120_000;

async function main() {
  const settings = {
    redis: { host: '127.0.0.1', port: Number(process.argv[2]) },
    prefix: '{jobs}',
    activateDelayedJobs: true,
    removeOnSuccess: false,
  };
  const queue = new Queue('work', settings);
  const done = new Map();
  const tries = new Map();
  const expected = JOBS + 10;
  const all = new Promise((resolve, reject) => {
    setTimeout(() => reject(new Error(`only ${done.size} of ${expected} jobs were worked on, or not all of them were told to be done`)), PATIENCE_MS).unref();
    // Told when a job is no longer active, which is after its work.
    let succeeded = 0;
    queue.on('succeeded', () => ++succeeded === expected && resolve());
    queue.on('error', reject);
  });
  queue.process(4, async (job) => {
    const { name, failing } = job.data;
    tries.set(name, (tries.get(name) || 0) + 1);
    if (failing && tries.get(name) < 3) throw new Error('not yet');
    done.set(name, (done.get(name) || 0) + 1);
    return name;
  });
  const jobs = [];
  for (let n = 0; n < JOBS; n++) jobs.push(queue.createJob({ name: `job${n}` }));
  for (let n = 0; n < 5; n++) jobs.push(queue.createJob({ name: `retried${n}`, failing: true }).retries(3));
  for (let n = 0; n < 5; n++) jobs.push(queue.createJob({ name: `delayed${n}` }).delayUntil(Date.now() + 1000));
  await Promise.all(jobs.map((job) => job.save()));
  await all;
  assert([...done.values()].every((times) => times === 1), 'some job was done twice');
  for (let n = 0; n < 5; n++) assert.strictEqual(tries.get(`retried${n}`), 3);
  const health = await queue.checkHealth();
  assert.strictEqual(health.waiting + health.active + health.delayed + health.failed, 0);
  await queue.close();
  console.log(`bee-queue: ${done.size} jobs, each done once`);
}

main().then(() => process.exit(0), (error) => { console.error(error); process.exit(1); });
