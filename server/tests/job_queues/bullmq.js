// BullMQ, unmodified: jobs that work, fail and are tried again, wait for their time, or for others; each done once.
//
//     node bullmq.js PORT
//
// Its scripts name several keys of one queue, and touch others. Once a hash tag around the prefix keeps them on one core, as
// BullMQ asks for with clusters; once there is none, and they live wherever they do.
'use strict';
const assert = require('assert');
const { FlowProducer, Queue, Worker } = require('bullmq');

const JOBS = 100;
const PATIENCE_MS = 120_000;

async function run(prefix) {
  const connection = { host: '127.0.0.1', port: Number(process.argv[2]), maxRetriesPerRequest: null };
  const options = { connection, prefix };
  const queue = new Queue('work', options);
  const flows = new FlowProducer(options);
  const done = new Map();
  const tries = new Map();
  const expected = JOBS + 10 + 4;
  const worker = new Worker('work', async (job) => {
    tries.set(job.name, (tries.get(job.name) || 0) + 1);
    if (job.data.failing && tries.get(job.name) < 3) throw new Error('not yet');
    if (job.data.parent) assert.strictEqual(Object.keys(await job.getChildrenValues()).length, 3);
    done.set(job.name, (done.get(job.name) || 0) + 1);
    return job.name;
  }, { ...options, concurrency: 4 });
  const all = new Promise((resolve, reject) => {
    setTimeout(() => reject(new Error(`only ${done.size} of ${expected} jobs are done`)), PATIENCE_MS).unref();
    worker.on('completed', () => done.size === expected && resolve());
    worker.on('error', reject);
  });
  const many = [];
  for (let n = 0; n < JOBS; n++) many.push({ name: `job${n}`, data: {} });
  await queue.addBulk(many);
  for (let n = 0; n < 5; n++) {
    await queue.add(`retried${n}`, { failing: true }, { attempts: 3, backoff: { type: 'fixed', delay: 50 } });
    await queue.add(`delayed${n}`, {}, { delay: 1000, priority: n + 1 });
  }
  const children = [0, 1, 2].map((n) => ({ name: `child${n}`, queueName: 'work', data: {} }));
  await flows.add({ name: 'parent', queueName: 'work', data: { parent: true }, children });
  await all;
  assert([...done.values()].every((times) => times === 1), 'some job was done twice');
  for (let n = 0; n < 5; n++) assert.strictEqual(tries.get(`retried${n}`), 3);
  await worker.close();
  const counts = await queue.getJobCounts('wait', 'active', 'delayed', 'failed', 'completed', 'prioritized', 'waiting-children');
  const { completed, ...others } = counts;
  assert.strictEqual(completed, expected);
  assert(Object.values(others).every((count) => count === 0), JSON.stringify(counts));
  await flows.close();
  await queue.close();
  console.log(`BullMQ, prefix ${prefix}: ${done.size} jobs, each done once`);
}

run('{jobs}').then(() => run('jobs')).then(() => process.exit(0), (error) => { console.error(error); process.exit(1); });
