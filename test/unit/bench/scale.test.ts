import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import t from 'tap';
import { run } from '../../rig/command.ts';

t.setTimeout(120_000);

const SCALE = new URL('../../bench/scale.ts', import.meta.url).pathname;

for (const cloud of ['aws', 'aliyun']) {
  t.test(`hosts that join on ${cloud} get a prefix each, and the figures say what it took`, async (t) => {
    const folder = await mkdtemp(path.join(tmpdir(), 'drayage-scale-'));
    t.teardown(() => rm(folder, { recursive: true }));
    const file = path.join(folder, 'figures.json');
    const argv = [SCALE, '--cloud', cloud, '--hosts', '3', '--latency', '0', '--lag', '0', '--json', file];
    const { code, stderr } = await run([process.execPath, ...argv], { timeoutMs: 110_000 });
    t.equal(code, 0, stderr);
    const figures = JSON.parse(await readFile(file, 'utf8')) as Record<string, unknown>;
    t.match(figures, {
      cloud,
      hosts: 3,
      routed: 3,
      all_routed_s: Number,
      host_s: { p50: Number },
      calls: { total: Number, per_host: { mean: Number } },
      throttled: { total: 0 },
      stray_routes: { after_reconcile: 0 },
      reconcile: { steady: { writes: 0, drift: 0 } },
    });
  });
}
