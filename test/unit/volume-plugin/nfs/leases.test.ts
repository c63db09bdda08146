import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { LEASE_TIMES } from '../../../../volume-plugin/nfs/lease-times.ts';
import { context, scene, VOLUME } from './lease-scene.ts';

t.setTimeout(60_000);

const { patienceMs, marginMs, beatMs, resumeMs, aliveMs } = LEASE_TIMES;
const folder = (root: string): string => join(root, '.drayage/leases');
const leasesIn = (root: string): string[] => readdirSync(folder(root)).filter((name) => name.endsWith('.json'));
/** A file that another version, or somebody's editor, has written. */
const NEWER = JSON.stringify({ format: 2 });

t.test('of two hosts that take a volume at once one has it, in each of 20 rounds', async (t) => {
  const { host, time, on } = scene(t);
  const hosts = [host(1), host(2)] as const;
  for (let round = 0; round < 20; round += 1) {
    const volume = `volume-${round}`;
    const taken = hosts.map((one) =>
      one.leases.take(volume, on(one), context()).then(
        () => one,
        (error: Error) => error.message,
      ),
    );
    const results = await time.wait(Promise.all(taken));
    if (typeof results === 'string') throw new Error(results);
    const winner = results.find((result) => typeof result !== 'string');
    const refusal = results.find((result) => typeof result === 'string');
    if (typeof winner !== 'object') throw new Error(`nobody has it: ${results.join(' ')}`);
    t.match(refusal, `Volume ${volume} is in use on host ${winner.name}, which was heard of`);
    t.same(winner.leases.holder(volume), { host: winner.name, epoch: 1 });
  }
});

t.test('what was let go another host has at once; epochs count up, and old ones do not pile up', async (t) => {
  const { root, time, host } = scene(t);
  const [a, b] = [host(1), host(2)];
  for (let epoch = 1; epoch < 20; epoch += 2) {
    t.same(await a.take(), { epoch });
    t.equal(await a.release(), undefined);
    t.equal(a.leases.holder(VOLUME), undefined);
    t.same(await b.take(), { epoch: epoch + 1 });
    t.equal(await b.release(), undefined);
  }
  t.equal(time.now, 0, 'no time has passed');
  t.ok(leasesIn(root).length <= 4, leasesIn(root).join(' '));
});

t.test('a host that has it takes it again, and lets it go twice, without harm', async (t) => {
  const { host } = scene(t);
  const a = host(1);
  t.same(await a.take(), { epoch: 1 });
  t.same(await a.take(), { epoch: 1 });
  t.equal(await a.release(), undefined);
  t.equal(await a.release(), undefined);
});

t.test('a holder that lives keeps it for as long as it likes; who wants it is told when it was heard of', async (t) => {
  const { time, host } = scene(t);
  const [a, b] = [host(1), host(2)];
  await a.take();
  await time.pass(300_000);
  const began = time.now;
  t.match(await b.take(), /^VOLUME_BUSY: Volume data is in use on host host-1, which was heard of \d s ago\.$/);
  t.ok(time.now - began <= 2 * beatMs, `after ${time.now - began} ms`);
  t.same(a.lost, []);
  t.match(b.leases.holder(VOLUME), { host: 'host-1', epoch: 1, stillMs: Number });
});

t.test('one that is gone is waited for, and its volume then taken over, whatever clocks say', async (t) => {
  const { time, host, on } = scene(t);
  const [a, b] = [host(1), host(2)];
  await a.take();
  await time.pass(3 * beatMs);
  a.kill();
  const began = time.now;
  const taken = b.leases.take(VOLUME, on(b), context());
  await time.pass(11_000);
  const waiting = 'waiting for host host-1, which was not heard of for 10 s (it is taken over after 45 s)';
  t.equal(b.leases.progress(VOLUME), waiting);
  t.same(await time.wait(taken), { epoch: 2 });
  const ms = time.now - began;
  t.ok(ms >= patienceMs + marginMs && ms < patienceMs + marginMs + 3_000, `after ${ms} ms`);
  t.equal(b.leases.progress(VOLUME), undefined);
});

t.test('who cannot wait so long is told how long it was, and is not the poorer for having asked', async (t) => {
  const { time, host, on } = scene(t);
  const [a, b] = [host(1), host(2)];
  await a.take();
  a.kill();
  const hurried = () => time.wait(b.leases.take(VOLUME, on(b), context(1_000)));
  const said = /host-1, which was not heard of for (\d+) s \(it is taken over after 45 s\)/;
  t.match(await hurried(), said);
  for (let n = 0; n < 4; n += 1) {
    await time.pass(10_000);
    t.equal(said.exec(String(await hurried()))?.[1], String(10 * (n + 1)));
  }
  await time.pass(6_000);
  t.same(await hurried(), { epoch: 2 });
});

t.test('a watch that was interrupted begins anew: the server may have been away for all', async (t) => {
  const { time, host, on } = scene(t);
  const [a, b] = [host(1), host(2)];
  await a.take();
  a.kill();
  t.match(await time.wait(b.leases.take(VOLUME, on(b), context(1_000))), /for 0 s/);
  await time.pass(60_000);
  t.match(await time.wait(b.leases.take(VOLUME, on(b), context(1_000))), /for 0 s/);
});

t.test('a host that cannot reach the server gives up long before another one takes over', async (t) => {
  const { time, host } = scene(t);
  const [a, b] = [host(1), host(2)];
  await a.take();
  await time.pass(12_000);
  a.share.silent = true;
  const began = time.now;
  t.same(await b.take(), { epoch: 2 });
  const taken = time.now;
  t.match(a.lost, [{ volume: VOLUME, reason: 'its lease on the share could not be renewed for 30 s' }]);
  t.ok((a.lost[0]?.at ?? 0) <= began + patienceMs);
  t.ok(
    taken - (a.lost[0]?.at ?? 0) >= marginMs,
    `it has ${taken - (a.lost[0]?.at ?? 0)} ms to keep its containers off`,
  );
  t.equal(a.leases.lost(VOLUME), a.lost[0]?.reason);
  a.share.silent = false;
  t.match(await a.take(), /in use on host host-2/);
});

t.test('a server that is away for less than that takes nothing from anybody', async (t) => {
  const { time, host } = scene(t);
  const a = host(1);
  await a.take();
  for (let n = 0; n < 10; n += 1) {
    await time.pass(12_000);
    a.share.silent = true;
    await time.pass(patienceMs - beatMs - 4_000);
    a.share.silent = false;
  }
  t.same(a.lost, []);
  t.same(a.leases.holder(VOLUME), { host: 'host-1', epoch: 1 });
});

t.test('a host whose volume was taken notices with its next sign of life; letting go ends that', async (t) => {
  const { root, time, host } = scene(t);
  const a = host(1);
  await a.take();
  const lease = JSON.parse(readFileSync(join(folder(root), 'data.1.json'), 'utf8'));
  writeFileSync(join(folder(root), 'data.2.json'), JSON.stringify({ ...lease, host: { id: 'id-9', name: 'host-9' } }));
  await time.pass(beatMs + 1);
  t.match(a.lost, [{ volume: VOLUME, reason: /^another host may have it \(epoch 2\)/ }]);
  t.equal(await a.release(), undefined);
  t.equal(a.leases.lost(VOLUME), undefined);
  t.same(JSON.parse(readFileSync(join(folder(root), 'data.2.json'), 'utf8')).state, 'held', 'it is the other one’s');
});

t.test('a plugin that is killed and comes back keeps what its containers go on with', async (t) => {
  const { time, host, on } = scene(t);
  const [a, b] = [host(1), host(2)];
  await a.take();
  await time.pass(7_000);
  a.kill();
  await time.pass(8_000);
  const again = a.again();
  again.leases.resume(VOLUME, on(again));
  again.leases.resume(VOLUME, on(again));
  await time.pass(1);
  t.same(again.leases.holder(VOLUME), { host: 'host-1', epoch: 2 });
  t.match(await b.take(), /in use on host host-1, which was heard of/);
  await time.pass(600_000);
  t.same(again.lost, []);
});

t.test('a host that was restarted has its volume again at once', async (t) => {
  const { time, host } = scene(t);
  const a = host(1);
  await a.take();
  a.kill();
  await time.pass(1_000);
  t.same(await a.again().take(), { epoch: 2 });
  t.equal(time.now, 1_000);
});

t.test('a plugin that was away for too long has lost it, and says to whom', async (t) => {
  const { time, host, on } = scene(t);
  const [a, b] = [host(1), host(2)];
  await a.take();
  a.kill();
  t.same(await b.take(), { epoch: 2 });
  const again = a.again();
  again.leases.resume(VOLUME, on(again));
  await time.pass(1);
  t.match(again.lost, [{ reason: 'host host-2 took it over from this host while its plugin did not run' }]);
  t.same(b.lost, []);
});

t.test('a plugin that comes back and cannot reach the server keeps containers from writing in time', async (t) => {
  const { time, host, on } = scene(t);
  const a = host(1);
  await a.take();
  a.kill();
  const again = a.again();
  again.share.silent = true;
  again.leases.resume(VOLUME, on(again));
  await time.pass(resumeMs - 100);
  t.same(again.lost, []);
  await time.pass(200);
  t.match(again.lost, [{ reason: /^since the plugin was started its lease/ }]);
  again.share.silent = false;
  await time.pass(60_000);
  t.equal(again.leases.holder(VOLUME), undefined);
});

t.test('a plugin that is stopped in good order keeps its volumes until it is back', async (t) => {
  const { time, host, on } = scene(t);
  const [a, b] = [host(1), host(2)];
  await a.take();
  await time.wait(a.leases.close());
  a.kill();
  await time.pass(3_600_000);
  t.match(
    await b.take(),
    /in use on host host-1, where containers had it when the plugin was stopped, so they may go on/,
  );
  const again = a.again();
  again.leases.resume(VOLUME, on(again));
  await time.pass(1);
  t.same(again.leases.holder(VOLUME), { host: 'host-1', epoch: 2 });
});

t.test('a plugin that is stopped while it has nothing leaves nothing to wait for', async (t) => {
  const { time, host } = scene(t);
  const [a, b] = [host(1), host(2)];
  await a.take();
  await a.release();
  await time.wait(a.leases.close());
  t.same(await b.take(), { epoch: 2 });
  t.match(await a.take('other'), /^NOT_READY/);
});

t.test('an operator takes a volume from a dead host, by its name, and the next one has it at once', async (t) => {
  const { time, host } = scene(t);
  const [a, b, c] = [host(1), host(2), host(3)];
  await a.take();
  t.match(await a.fence('host-1'), /^VOLUME_IN_USE/);
  t.match(await b.fence('host-3'), /^VOLUME_BUSY: Volume data is in use on host host-1, not on host-3\./);
  t.match(await b.fence('host-1'), /in use on host host-1, and that host runs\./);
  t.same(a.lost, []);
  a.kill();
  await time.pass(aliveMs);
  const began = time.now;
  t.equal(await b.fence('host-1'), undefined);
  t.ok(time.now - began <= aliveMs + 2_000, `after ${time.now - began} ms`);
  t.equal(await b.fence('host-1'), undefined, 'nobody has it');
  const fenced = time.now;
  t.same(await c.take(), { epoch: 3 });
  t.equal(time.now, fenced);
});

t.test('an operator takes a volume from a plugin that was stopped without being waited for', async (t) => {
  const { time, host } = scene(t);
  const [a, b] = [host(1), host(2)];
  await a.take();
  await time.wait(a.leases.close());
  t.equal(await b.fence('host-1'), undefined);
  t.same(await b.take(), { epoch: 3 });
  t.equal(time.now, 0);
});

t.test('a host that was fenced and wakes up has lost it', async (t) => {
  const { time, host, on } = scene(t);
  const [a, b] = [host(1), host(2)];
  await a.take();
  a.kill();
  await b.fence('host-1');
  const again = a.again();
  again.leases.resume(VOLUME, on(again));
  await time.pass(1);
  t.match(again.lost, [{ reason: 'an operator took it from this host while its plugin did not run' }]);
});

t.test('a hundred volumes of a share cost what one does', async (t) => {
  const { time, host } = scene(t);
  const a = host(1);
  for (let n = 0; n < 100; n += 1) await a.take(`volume-${n}`);
  await time.pass(60_000);
  a.share.calls.length = 0;
  await time.pass(60_000);
  const writes = a.share.calls.filter((call) => call.startsWith('replaceFile'));
  t.equal(writes.length, 60_000 / beatMs);
  t.equal(a.share.calls.length, 2 * writes.length);
  for (let n = 0; n < 100; n += 1) await a.release(`volume-${n}`);
  await time.pass(beatMs);
  a.share.calls.length = 0;
  await time.pass(600_000);
  t.same(a.share.calls, [], 'who has nothing says nothing');
});

t.test('an answer that is lost while a volume is taken or let go keeps nobody from it', async (t) => {
  const { host, time } = scene(t);
  const [a, b] = [host(1), host(2)];
  a.share.unanswered = 'createFile';
  t.match(await a.take(), /^SHARE_SILENT/);
  t.same(await a.take(), { epoch: 2 });
  // Its first own beat, and the one before letting go.
  a.share.silent = true;
  t.match(await a.release(), /^SHARE_SILENT/);
  t.same(a.lost, []);
  a.share.silent = false;
  t.equal(await a.release(), undefined);
  t.same(await b.take(), { epoch: 3 });
  b.share.unanswered = 'createFile';
  t.match(await b.take('other'), /^SHARE_SILENT/);
  const began = time.now;
  t.same(await a.take('other'), { epoch: 2 }, 'nobody keeps it alive');
  t.ok(time.now - began >= patienceMs + marginMs);
});

t.test('a lease that cannot be read is nobody’s to take, but an operator’s', async (t) => {
  const { root, time, host, on } = scene(t);
  const [a, b] = [host(1), host(2)];
  await a.take();
  await a.release();
  for (const text of [NEWER, '{"format":1}', 'x', '[]', '{"format":1,"host":{"id":"a","name":"b"},"beat":"../x"}']) {
    writeFileSync(join(folder(root), 'data.7.json'), text);
    t.match(await time.wait(b.leases.take(VOLUME, on(b), context(1_000))), /in use on host unknown\./);
  }
  t.match(await b.fence('host-1'), /on host unknown, not on host-1/);
  t.equal(await b.fence('unknown'), undefined);
  t.same(await b.take(), { epoch: 9 });
});

t.test('a volume that is removed leaves nothing; whoever wakes up and had it has lost it', async (t) => {
  const { root, time, host, on } = scene(t);
  const [a, b] = [host(1), host(2)];
  await a.take();
  t.equal(await time.wait(a.leases.forget(VOLUME, on(a), context())), undefined);
  t.same(leasesIn(root), []);
  t.same(await b.take(), { epoch: 1 });
  rmSync(join(folder(root), 'data.1.json'));
  await time.pass(beatMs + 1);
  t.match(b.lost, [{ reason: 'its lease was removed from the share' }]);
});

t.test('names of volumes that end like epochs are told apart', async (t) => {
  const { root, host } = scene(t);
  const [a, b] = [host(1), host(2)];
  t.same(await a.take('v1'), { epoch: 1 });
  t.same(await b.take('v1.1'), { epoch: 1 });
  t.same(await b.take('v1.1.json'), { epoch: 1 });
  t.same(leasesIn(root), ['v1.1.1.json', 'v1.1.json', 'v1.1.json.1.json']);
});
