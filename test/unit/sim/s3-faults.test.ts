import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { CopyObjectCommand, GetObjectCommand, PutObjectCommand } from '@aws-sdk/client-s3';
import t from 'tap';
import { SimControl } from '../../sim/core/control-client.ts';
import { refusal } from './aws-sdk.ts';
import { BUCKET as Bucket, client, s3Site } from './s3-site.ts';

t.setTimeout(60_000);

const site = async (t: Parameters<typeof s3Site>[0]) => {
  const { sim, s3 } = await s3Site(t);
  const put = (Body = 'text') => s3.send(new PutObjectCommand({ Bucket, Key: 'k', Body }));
  const get = async () => (await s3.send(new GetObjectCommand({ Bucket, Key: 'k' }))).Body?.transformToString();
  return { sim, s3, put, get };
};

t.test('answers come after the latency, and not before', async (t) => {
  const { sim, put, get } = await site(t);
  await put();
  sim.latency(400);
  sim.latency(0, 'PutObject');
  const begin = performance.now();
  await put();
  t.ok(performance.now() - begin < 400);
  const early = performance.now();
  await get();
  t.ok(performance.now() - early >= 399.5);
});

t.test('bursts of 503 end, and an answer that is lost was carried out', async (t) => {
  const { sim, put, get } = await site(t);
  const fault = sim.faults.add({ action: 'PutObject', fault: { kind: 'throttle' }, times: 2 });
  await t.rejects(put(), refusal('SlowDown', 503));
  await t.rejects(put(), refusal('SlowDown', 503));
  await put('three');
  t.equal(fault.hits, 2);
  sim.faults.loseReply('PutObject');
  await t.rejects(put('four'), { code: 'ECONNRESET' });
  t.equal(await get(), 'four');
  sim.faults.drop('PutObject');
  await t.rejects(put('five'));
  t.equal(await get(), 'four');
  t.match(
    sim.calls({ action: 'PutObject' }).map(({ code }) => code),
    ['SlowDown', 'SlowDown', 'OK', 'OK', 'drop'],
  );
});

t.test('bodies are cut short, altered or reset', async (t) => {
  const { sim, put, get } = await site(t);
  await put('0123456789');
  sim.faults.add({ action: 'GetObject', fault: { kind: 'truncate', after: 4 } });
  await t.rejects(get(), { code: 'ECONNRESET' });
  sim.faults.add({ action: 'GetObject', fault: { kind: 'reset', after: 4 } });
  await t.rejects(get(), { code: 'ECONNRESET' });
  sim.faults.add({ action: 'GetObject', fault: { kind: 'reset' } });
  await t.rejects(get(), { code: 'ECONNRESET' });
  sim.faults.add({ action: 'GetObject', fault: { kind: 'corrupt' } });
  await t.rejects(get(), { message: /Checksum mismatch/ });
  t.equal(await get(), '0123456789');
});

t.test('an error may come after 200, and an answer never', async (t) => {
  const { sim, s3, put } = await site(t);
  await put();
  sim.faults.add({ action: 'CopyObject', fault: { kind: 'late-error', code: 'InternalError' } });
  const copy = new CopyObjectCommand({ Bucket, Key: 'copy', CopySource: `${Bucket}/k` });
  await t.rejects(s3.send(copy), { name: 'InternalError' });
  t.equal(sim.bucket(Bucket).find('copy'), undefined);
  sim.faults.hang('GetObject');
  const ended = AbortSignal.timeout(100);
  await t.rejects(s3.send(new GetObjectCommand({ Bucket, Key: 'k' }), { abortSignal: ended }), { name: 'AbortError' });
});

t.test('a store that is down comes back with what it had', async (t) => {
  const { sim, put, get } = await site(t);
  await put('kept');
  await sim.halt();
  await t.rejects(get());
  await t.rejects(get(), { code: 'ECONNREFUSED' });
  await sim.resume();
  t.equal(await get(), 'kept');
});

t.test('as a program it says where it is, is disturbed from outside, and ends with who started it', async (t) => {
  const main = new URL('../../sim/s3/main.ts', import.meta.url).pathname;
  const args = ['--json', '--child', '--bucket', Bucket, '--key', 'AKIAMINE:secret'];
  const child = spawn(process.execPath, [main, ...args], { stdio: ['pipe', 'pipe', 'inherit'] });
  t.teardown(() => child.kill('SIGKILL'));
  const [line] = await once(createInterface(child.stdout), 'line');
  const info = JSON.parse(line);
  const sim = { region: info.region, endpoint: info.endpoint } as Parameters<typeof client>[1];
  const s3 = client(t, sim, { id: 'AKIAMINE', secret: 'secret', principal: { name: '', actions: [] } });
  const put = new PutObjectCommand({ Bucket, Key: 'k', Body: 'x' });
  await s3.send(put);
  const control = new SimControl(info.control);
  await control.fault({ action: 'PutObject', fault: { kind: 'fail', code: 'InternalError' } });
  await t.rejects(s3.send(put), refusal('InternalError', 500));
  await control.do('bucket', { name: Bucket, readOnly: true });
  await t.rejects(s3.send(put), refusal('AccessDenied', 403));
  t.match(await control.do('counts'), { PutObject: 3 });
  t.match(await control.ask('GET', 'state'), [{ name: Bucket, objects: [{ key: 'k', size: 1 }] }]);
  child.stdin.end();
  const [code] = await once(child, 'exit');
  t.equal(code, 0);
});
