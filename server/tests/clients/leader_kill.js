// ioredis' Cluster, unmodified, while the node that leads is killed with SIGKILL: what it was told is stored is there.
//
// Arguments: the process and the any-slot port of each of three nodes, as PID:PORT.
'use strict';
const assert = require('assert');
const Redis = require('ioredis');

const KEYS = 6000;

const nodes = process.argv.slice(2).map((node) => node.split(':').map(Number));
const cluster = new Redis.Cluster(
  nodes.map(([, port]) => ({ host: '127.0.0.1', port })),
  { clusterRetryStrategy: (times) => Math.min(50 * times, 500) },
);
// Connections that end are what this is about.
cluster.on('error', () => {});
cluster.on('node error', () => {});

// The process that leads the first slot.
async function leader() {
  const slots = await cluster.cluster('SLOTS');
  const [, , [, port]] = slots.find(([first]) => first === 0);
  // Ports of a node's cores follow its own.
  const of = nodes.filter((node) => node[1] < port).sort((one, other) => other[1] - one[1]);
  return of[0][0];
}

(async () => {
  const acknowledged = new Map();
  let failed = 0;
  let silence = 0;
  let last = Date.now();
  for (let i = 0; i < KEYS; i += 1) {
    if (i === Math.floor(KEYS / 3)) process.kill(await leader(), 'SIGKILL');
    const key = `ioredis:${i}`;
    try {
      assert.strictEqual(await cluster.set(key, String(i)), 'OK');
      acknowledged.set(key, String(i));
      silence = Math.max(silence, Date.now() - last);
      last = Date.now();
    } catch (error) {
      if (error instanceof assert.AssertionError) throw error;
      failed += 1;
    }
  }
  assert(acknowledged.size > (KEYS * 2) / 3, `${acknowledged.size} acknowledged, ${failed} failed`);
  for (const [key, value] of acknowledged) {
    assert.strictEqual(await cluster.get(key), value, key);
  }
  cluster.disconnect();
  const { version } = require('ioredis/package.json');
  console.log(`ioredis ${version} Cluster, leader killed: ${acknowledged.size} acknowledged and there, ${failed} failed, `
    + `${silence} ms without an answer at most`);
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
