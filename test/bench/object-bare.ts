/**
 * A loop of parallel ranged GETs through our own client, with nothing else around it: `node test/bench/object-bare.ts JSON
 * KEY`, JSON being the store's description. What a file system over the same client could read at most.
 */
import { newContext } from '../../shared/context.ts';
import { silentLogger } from '../../shared/log.ts';
import type { StoreDescription } from '../../volume-plugin/object/description.ts';
import { openStore } from '../../volume-plugin/object/registry.ts';

const PART = 8 << 20;
const AT_ONCE = 16;
const LONGEST_MS = 300_000;

const [text = '', key = ''] = process.argv.slice(2);
const store = openStore(JSON.parse(text) as StoreDescription);
const c = newContext(silentLogger, LONGEST_MS);
const size = (await store.head(key, c))?.size ?? 0;
const cpu = process.cpuUsage();
const started = performance.now();
let next = 0;
let bytes = 0;
const loop = async (): Promise<void> => {
  const into = Buffer.allocUnsafeSlow(PART);
  while (next < size) {
    const offset = next;
    next += PART;
    const { data } = await store.get(key, { range: { offset, length: PART }, into }, c);
    for (const part of data) bytes += part.length;
  }
};
await Promise.all(Array.from({ length: AT_ONCE }, loop));
const seconds = (performance.now() - started) / 1000;
const { user, system } = process.cpuUsage(cpu);
await store.close();
const rss = process.resourceUsage().maxRSS / 1024;
console.log(JSON.stringify({ seconds, bytes, cpu: (user + system) / 1e6, rss }));
