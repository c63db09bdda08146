// Names are looked up in files of the test's own and asked of a name server on loopback.
import { createSocket } from 'node:dgram';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { newContext, now } from '../../../../shared/context.ts';
import { silentLogger } from '../../../../shared/log.ts';
import { type NameSources, resolveServer, UnresolvedName } from '../../../../volume-plugin/nfs/server-name.ts';

const PATIENT_MS = 8_000;

type Records = Readonly<Record<string, { readonly a?: readonly string[]; readonly aaaa?: readonly string[] } | number>>;

interface World {
  readonly records?: Records | 'silence';
  readonly hosts?: string;
  readonly resolvConf?: string;
}

/** A name server that knows these names; a number is the code that it answers instead. */
const start = async (t: Test, { records = {}, hosts = '', resolvConf = '' }: World) => {
  const asked: string[] = [];
  const server = createSocket('udp4');
  server.on('message', (query, from) => {
    if (records === 'silence') return;
    const { name, type, end } = questionOf(query);
    asked.push(`${type === 1 ? 'A' : 'AAAA'} ${name}`);
    server.send(replyTo(query.subarray(0, end), type, records[name] ?? 3), from.port, from.address);
  });
  await new Promise<void>((resolve) => server.bind(0, '127.0.0.1', resolve));
  t.teardown(() => server.close());
  const folder = t.testdir({});
  const sources: NameSources = {
    hosts: join(folder, 'hosts'),
    resolvConf: join(folder, 'resolv.conf'),
    servers: [`127.0.0.1:${server.address().port}`],
  };
  writeFileSync(sources.hosts, hosts);
  writeFileSync(sources.resolvConf, resolvConf);
  const resolve = (name: string, ms = PATIENT_MS) =>
    resolveServer(name, sources, ms, newContext(silentLogger, PATIENT_MS));
  return { resolve, asked, sources };
};

interface Question {
  readonly name: string;
  readonly type: number;
  /** Where it ends in the query. */
  readonly end: number;
}

const questionOf = (query: Buffer): Question => {
  const labels: string[] = [];
  let at = 12;
  for (; (query[at] ?? 0) > 0; at += 1 + (query[at] ?? 0)) {
    labels.push(query.toString('latin1', at + 1, at + 1 + (query[at] ?? 0)));
  }
  return { name: labels.join('.').toLowerCase(), type: query.readUInt16BE(at + 1), end: at + 5 };
};

/** RFC 1035, with names in answers as references to that of the question. */
const replyTo = (question: Buffer, type: number, known: Exclude<Records[string], undefined>): Buffer => {
  const addresses = typeof known === 'number' ? [] : ((type === 1 ? known.a : known.aaaa) ?? []);
  const answers = addresses.map((address) => {
    const bytes = type === 1 ? Buffer.from(address.split('.').map(Number)) : Buffer.from(address, 'hex');
    const head = Buffer.of(0xc0, 12, 0, type, 0, 1, 0, 0, 0, 60, 0, bytes.length);
    return Buffer.concat([head, bytes]);
  });
  const reply = Buffer.from(question);
  reply.writeUInt16BE(0x8180 | (typeof known === 'number' ? known : 0), 2);
  reply.writeUInt16BE(1, 4);
  reply.writeUInt16BE(answers.length, 6);
  reply.writeUInt32BE(0, 8);
  return Buffer.concat([reply, ...answers]);
};

t.test('an address is its own, without asking anybody', async (t) => {
  const { resolve, asked } = await start(t, {});
  for (const address of ['10.0.0.5', 'fd00::5', 'fe80::1%eth0']) t.same(await resolve(address), [address]);
  t.same(asked, []);
});

t.test('the hosts file comes first, with all its addresses of a name', async (t) => {
  const hosts = '# 10.9.9.9 nas\n127.0.0.1 localhost\n10.0.0.5\tnas.lan NAS # old\nfd00::5 nas\nnonsense nas\n';
  const { resolve, asked } = await start(t, { hosts, records: { nas: { a: ['10.1.1.1'] } } });
  t.same(await resolve('nas'), ['10.0.0.5', 'fd00::5']);
  t.same(await resolve('Nas.LAN'), ['10.0.0.5']);
  t.same(asked, []);
});

t.test('name servers are asked for IPv4, and for IPv6 where there is none', async (t) => {
  const records = {
    'fs-1.efs.example': { a: ['10.0.1.7', '10.0.2.7'], aaaa: ['fd000000000000000000000000000001'] },
    'six.example': { aaaa: ['fd000000000000000000000000000001'] },
  };
  const { resolve, asked } = await start(t, { records });
  t.same((await resolve('fs-1.efs.example')).toSorted(), ['10.0.1.7', '10.0.2.7']);
  t.same(await resolve('six.example'), ['fd00::1']);
  t.same(asked, ['A fs-1.efs.example', 'A six.example', 'AAAA six.example']);
});

t.test('short names are tried with the domains of resolv.conf', async (t) => {
  const world = { records: { 'nas.b.example': { a: ['10.0.0.5'] }, 'nas.rack1': { a: ['10.0.0.6'] } } };
  const search = 'search old.example\nsearch a.example b.example\n';
  const plain = await start(t, { ...world, resolvConf: search });
  t.same(await plain.resolve('nas'), ['10.0.0.5']);
  t.same(plain.asked, ['A nas.a.example', 'A nas.b.example']);
  t.same(await plain.resolve('nas.rack1'), ['10.0.0.6'], 'with a dot, as it is first');
  t.equal(plain.asked.length, 3);
  const dots = await start(t, { ...world, resolvConf: `${search}options timeout:1 ndots:2\n` });
  await dots.resolve('nas.rack1');
  t.same(dots.asked, ['A nas.rack1.a.example', 'A nas.rack1.b.example', 'A nas.rack1']);
  await t.rejects(plain.resolve('nas.'), UnresolvedName, 'a dot at the end: no domain is tried');
});

t.test('a name that nobody knows does not resolve', async (t) => {
  const { resolve } = await start(t, { records: { 'empty.example': {} } });
  await t.rejects(resolve('none.example'), { message: 'no name server knows an address of none.example' });
  await t.rejects(resolve('empty.example'), { message: /knows an address/ });
});

t.test('a name server in trouble is told from a name that is not there', async (t) => {
  const { resolve } = await start(t, { records: { 'sick.example': 2, 'shut.example': 5 } });
  await t.rejects(resolve('sick.example'), { name: 'UnresolvedName', message: /trouble of its own/ });
  await t.rejects(resolve('shut.example'), { name: 'UnresolvedName', message: /refuses to answer/ });
});

t.test('a name server that is gone is not waited for, and holds nothing else up', async (t) => {
  const { resolve } = await start(t, { records: 'silence' });
  const before = now();
  // More than the C library's calls could be at a time.
  const names = Array.from({ length: 8 }, (_, at) => `nas-${at}.example`);
  for (const result of await Promise.allSettled(names.map((name) => resolve(name, 200)))) {
    t.match(result, { status: 'rejected', reason: { message: 'no name server answers' } });
  }
  t.ok(now() - before < 3_000);
});

t.test('files that are not there are empty; one that cannot be read is told', async (t) => {
  const { sources } = await start(t, { records: { 'nas.example': { a: ['10.0.0.5'] } } });
  const c = newContext(silentLogger, PATIENT_MS);
  const none = { ...sources, hosts: '/nowhere/hosts', resolvConf: '/nowhere/resolv.conf' };
  t.same(await resolveServer('nas.example', none, PATIENT_MS, c), ['10.0.0.5']);
  await t.rejects(resolveServer('nas.example', { ...sources, hosts: '/' }, PATIENT_MS, c), {
    message: /cannot be read/,
  });
});
