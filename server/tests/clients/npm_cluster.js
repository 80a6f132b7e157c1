// ioredis' Cluster and node-redis' cluster, unmodified, given one port of a running server: 1,000 keys each way.
//
// Arguments: a port. Run where `ioredis` and `redis` are installed (NODE_PATH).
'use strict';

const assert = require('node:assert');
const Redis = require('ioredis');
const { createCluster } = require('redis');

const KEYS = 1000;
const port = Number(process.argv[2]);
const keys = (prefix) => Array.from({ length: KEYS }, (_, i) => `${prefix}:${i}`);
const numbers = Array.from({ length: KEYS }, (_, i) => String(i));

async function ioredis() {
  const client = new Redis.Cluster([{ host: '127.0.0.1', port }]);
  client.on('error', (error) => { throw error; });
  const names = keys('io');
  assert.deepStrictEqual(await Promise.all(names.map((name, i) => client.set(name, i))), Array(KEYS).fill('OK'));
  assert.deepStrictEqual(await Promise.all(names.map((name) => client.get(name))), numbers);

  // A pipeline of ioredis goes to one node: its keys share a tag.
  const pipeline = client.pipeline();
  for (let i = 0; i < KEYS; i++) pipeline.set(`{io}:${i}`, i).get(`{io}:${i}`);
  const replies = await pipeline.exec();
  assert.deepStrictEqual(replies, numbers.flatMap((number) => [[null, 'OK'], [null, number]]));

  assert.strictEqual(await client.mset('{io}:a', '1', '{io}:b', '2'), 'OK');
  assert.deepStrictEqual(await client.mget('{io}:b', '{io}:none', '{io}:a'), ['2', null, '1']);

  const nodes = client.nodes('master');
  const sizes = await Promise.all(nodes.map((node) => node.dbsize()));
  const scanned = new Set();
  for (const node of nodes) {
    for await (const page of node.scanStream({ match: 'io:*', count: 100 })) page.forEach((key) => scanned.add(key));
  }
  assert.strictEqual(sizes.reduce((sum, size) => sum + size, 0), 2 * KEYS + 2);
  assert.deepStrictEqual([...scanned].sort(), [...names].sort());
  await Promise.all(nodes.map((node) => node.flushall()));
  await client.quit();
  return nodes.length;
}

async function nodeRedis() {
  const rootNodes = [{ socket: { host: '127.0.0.1', port } }];
  const client = createCluster({ rootNodes, defaults: { maintNotifications: 'disabled' } });
  client.on('error', (error) => { throw error; });
  await client.connect();
  const names = keys('node');
  // Commands of one turn of the event loop are pipelined to each node.
  assert.deepStrictEqual(await Promise.all(names.map((name, i) => client.set(name, String(i)))), Array(KEYS).fill('OK'));
  assert.deepStrictEqual(await Promise.all(names.map((name) => client.get(name))), numbers);
  assert.deepStrictEqual(await client.mGet(['{node}:none', '{node}:none2']), [null, null]);
  assert.strictEqual(await client.hSet('{node}:hash', { f: 'v', g: 'w' }), 2);
  assert.deepStrictEqual({ ...(await client.hGetAll('{node}:hash')) }, { f: 'v', g: 'w' });

  const nodes = await Promise.all(client.masters.map((node) => client.nodeClient(node)));
  const sizes = await Promise.all(nodes.map((node) => node.dbSize()));
  assert.strictEqual(sizes.reduce((sum, size) => sum + size, 0), KEYS + 1);
  await Promise.all(nodes.map((node) => node.flushAll()));
  await client.close();
  return nodes.length;
}

(async () => {
  for (const [name, run] of [['ioredis', ioredis], ['redis', nodeRedis]]) {
    const nodes = await run();
    console.log(`${name} ${require(`${name}/package.json`).version} (npm) cluster: ok, ${nodes} nodes`);
  }
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
