// @timeout 5m
// What is not a proper request, straight to the plugin's socket: it is answered with a sentence, changes nothing, and
// the plugin goes on. Whoever hangs up leaves nothing behind.
import { readdirSync, readFileSync } from 'node:fs';
import { request } from 'node:http';
import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import { signal, until } from '../rig/command.ts';
import type { InstalledPlugin } from '../rig/plugin.ts';
import { Cluster } from './support/cluster.ts';
import { stateOf } from './support/leftovers.ts';
import type { Member } from './support/member.ts';
import { errorText, isOurSentence } from './support/refusal.ts';

t.setTimeout(300_000);

const RECORDINGS = fileURLToPath(new URL('../fixtures/docker-calls', import.meta.url));
const ENDPOINT = 'e'.repeat(64);
const NETWORK = 'f'.repeat(64);

t.test('requests on engine 28', async (t) => {
  const cluster = await Cluster.for(t, { hosts: 1, provider: 'host' });
  const on = cluster.member(1);
  await on.createNetwork('web', '--ipam-driver', 'vpc');
  await on.box('runs', '--network', 'web');
  const pid = on.plugin.pid();
  const before = await withoutAddresses(on);

  await unreadable(t, on);
  await mangled(t, on);
  await hangUps(t, on);

  await t.test('the plugin never ended, the container still talks, and nothing is left over', async (t) => {
    t.equal(on.plugin.pid(), pid);
    t.ok(await on.pings('runs', '10.250.0.1'));
    t.same(await withoutAddresses(on), before);
    t.notMatch(on.plugin.log().join('\n'), /"code":"INTERNAL"|INTERNAL:/);
    await on.remove('runs');
    await on.must('network', 'rm', 'web');
    t.same(await on.leftovers(), []);
  });
});

async function unreadable(t: Test, on: Member): Promise<void> {
  const { plugin } = on;
  for (const [what, method, body, status, code] of [
    ['an empty body', 'NetworkDriver.CreateNetwork', '', 400, 'BAD_REQUEST'],
    ['broken JSON', 'NetworkDriver.CreateNetwork', '{"NetworkID": "', 400, 'BAD_REQUEST'],
    ['a list in place of an object', 'NetworkDriver.Join', '[]', 400, 'BAD_REQUEST'],
    ['null', 'IpamDriver.RequestPool', 'null', 400, 'BAD_REQUEST'],
    [
      'bytes that are not UTF-8',
      'NetworkDriver.Join',
      Buffer.from([0x7b, 0x22, 0xff, 0xfe, 0x22, 0x7d]),
      400,
      'BAD_REQUEST',
    ],
    ['deep nesting', 'NetworkDriver.CreateNetwork', '['.repeat(50_000), 400, 'BAD_REQUEST'],
    [
      'a body of 2 MB',
      'NetworkDriver.CreateNetwork',
      JSON.stringify({ NetworkID: 'x'.repeat(2 << 20) }),
      413,
      'BODY_TOO_LARGE',
    ],
    ['a method that there is not', 'NetworkDriver.MakeCoffee', '{}', 404, 'METHOD_UNKNOWN'],
    ['the name of something that every object has', 'constructor', '{}', 404, 'METHOD_UNKNOWN'],
  ] as const) {
    await t.test(`${what} is answered ${status} with a sentence`, async (t) => {
      const before = stateText(on);
      const answer = await post(plugin, method, body);
      t.equal(answer.status, status);
      const text = errorText(answer);
      if (code === 'BODY_TOO_LARGE')
        t.match(text, /^BODY_TOO_LARGE: The request \S+ is larger than \d+ bytes\. Use fewer/);
      else isOurSentence(t, text, code, [method], 'the answer');
      t.equal(stateText(on), before, 'the state is unchanged');
    });
  }

  await t.test('half a body and a hang-up, and something that is not HTTP, cost nothing', async (t) => {
    const before = stateText(on);
    await send(plugin, 'POST /NetworkDriver.CreateNetwork HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{"Net');
    await send(plugin, 'HELO plugin\r\n\r\n');
    await send(plugin, '\0\0\0\0'.repeat(1000));
    t.match(await plugin.call('NetworkDriver.GetCapabilities'), { status: 200 });
    t.equal(stateText(on), before);
  });
}

/** A recorded request that names things of this host in place of the recorded ones. */
interface Sample {
  readonly call: string;
  readonly body: Record<string, unknown>;
  /** Paths of the fields that are to be mangled in it. */
  readonly fields: readonly (readonly string[])[];
}

/** What stands at the end of a path of keys is replaced by this; undefined: left out. */
const MANGLES: readonly unknown[] = [
  undefined,
  null,
  7,
  -1.5,
  true,
  'banana',
  '',
  'x'.repeat(5000),
  '../../etc',
  [],
  [7],
  [{}],
  {},
  { a: { b: 1 } },
];

/** For fields deep inside, of which there are many. */
const FEWER_MANGLES: readonly unknown[] = [undefined, null, -1.5, 'banana', [7], { a: { b: 1 } }];

async function mangled(t: Test, on: Member): Promise<void> {
  const samples = await recordedSamples(on);
  for (const call of [...new Set(samples.map((sample) => sample.call))].sort()) {
    await t.test(`${call} with any field left out or mangled does no harm`, async (t) => {
      const wrong: string[] = [];
      const seen = new Set<string>();
      let refusals = 0;
      for (const { body, fields } of samples.filter((sample) => sample.call === call)) {
        for (const path of fields) {
          for (const mangle of path.length > 2 ? FEWER_MANGLES : MANGLES) {
            const text = JSON.stringify(withMangled(body, path, mangle));
            if (seen.has(text)) continue;
            seen.add(text);
            await prepare(on, call);
            const before = stateText(on);
            const answer = await on.plugin.call(call, text);
            const about = `${path.join('.')} = ${JSON.stringify(mangle)?.slice(0, 30)}: ${answer.status} ${JSON.stringify(answer.body).slice(0, 200)}`;
            if (answer.status === 200) {
              await undo(on, call, answer.body);
              continue;
            }
            refusals += 1;
            const sentence = errorText(answer);
            if (answer.status < 400 || !/^[A-Z0-9_]+: .+[.?] .+\. \[req \w+\]$/.test(sentence)) wrong.push(about);
            if (/^(INTERNAL|KERNEL|EXEC_FAILED)|\n|undefined|\[object|\bat \/|TypeError/.test(sentence))
              wrong.push(about);
            if (sentence.length > 2_000) wrong.push(`too long: ${about}`);
            if (stateText(on) !== before) wrong.push(`changed the state: ${about}`);
          }
        }
      }
      await undo(on, call, {});
      t.same(wrong, []);
      t.comment(`${seen.size} requests, ${refusals} refused`);
      if (!call.includes('Discover')) t.ok(refusals > 0, 'some were refused');
    });
  }

  await t.test('a needed field of the wrong type is never guessed at', async (t) => {
    for (const { call, body } of samples) {
      for (const field of ['NetworkID', 'EndpointID', 'PoolID'].filter((name) => name in body)) {
        for (const value of [undefined, null, 7, {}, [], '']) {
          const { status } = await on.plugin.call(call, { ...body, [field]: value });
          if (status !== 400) t.fail(`${call} with ${field} = ${JSON.stringify(value)}: ${status}`);
        }
      }
    }
    t.pass('every one was answered 400');
  });
}

/** For each field of each call the first recorded request that has it. */
async function recordedSamples(on: Member): Promise<Sample[]> {
  const [pool] = stateOf(on.host).get('pools')?.keys() ?? [];
  const network = await on.must('network', 'inspect', '-f', '{{.Id}}', 'web');
  const found: Sample[] = [];
  const known = new Set<string>();
  for (const file of readdirSync(RECORDINGS, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.jsonl'))
    .sort()) {
    for (const line of readFileSync(join(RECORDINGS, file), 'utf8')
      .split('\n')
      .filter((text) => text !== '')) {
      const { call, req } = JSON.parse(line) as { call?: string; req?: Record<string, unknown> };
      if (call === undefined || req === undefined || /Capabilities|AddressSpaces|Activate/.test(call)) continue;
      const name = call.slice(1);
      const endpointCall = /Endpoint|Join|Leave|External/.test(name);
      const body = {
        ...req,
        ...('NetworkID' in req && { NetworkID: endpointCall ? network : NETWORK }),
        ...('EndpointID' in req && { EndpointID: ENDPOINT }),
        ...('PoolID' in req && { PoolID: /ReleasePool/.test(name) ? 'vpc|10.64.0.0/12|10.79.0.0/24' : pool }),
        ...('AddressSpace' in req && { AddressSpace: 'vpc' }),
        ...('Interface' in req && {
          Interface: { Address: '10.64.0.200/24', AddressIPv6: '', MacAddress: '02:11:22:33:44:55' },
        }),
        ...(name === 'IpamDriver.ReleaseAddress' && { Address: '10.64.0.222' }),
        ...(name === 'IpamDriver.RequestAddress' && req.Address !== '' && { Address: '10.64.0.211' }),
        ...(name === 'IpamDriver.RequestPool' && { Options: {} }),
        ...(name === 'NetworkDriver.CreateNetwork' &&
          'Options' in req && {
            Options: { ...(req.Options as object), 'com.docker.network.generic': { mtu: '1400' } },
          }),
      };
      const fields = paths(body).filter((path) => !known.has(`${name} ${path.join(' ')}`));
      for (const path of fields) known.add(`${name} ${path.join(' ')}`);
      if (fields.length > 0) found.push({ call: name, body, fields });
    }
  }
  return found;
}

/** Paths of all fields, outer ones too, in objects and in the first entry of lists. */
function paths(value: unknown, at: readonly string[] = []): string[][] {
  if (typeof value !== 'object' || value === null) return [];
  const entries = Array.isArray(value) ? Object.entries(value.slice(0, 1)) : Object.entries(value);
  return entries.flatMap(([key, inner]) => [[...at, key], ...paths(inner, [...at, key])]);
}

function withMangled(value: unknown, path: readonly string[], mangle: unknown): unknown {
  const [key, ...rest] = path;
  if (key === undefined) return mangle;
  const copy: unknown = structuredClone(value);
  const record = copy as Record<string, unknown>;
  record[key] = withMangled(record[key], rest, mangle);
  return copy;
}

/** Calls about an endpoint need one. */
async function prepare(on: Member, call: string): Promise<void> {
  if (!/Join|External|OperInfo|Leave|DeleteEndpoint/.test(call) || stateOf(on.host).get('endpoints')?.has(ENDPOINT))
    return;
  const NetworkID = await networkOf(on);
  await on.plugin.call('NetworkDriver.CreateEndpoint', {
    NetworkID,
    EndpointID: ENDPOINT,
    Interface: { Address: '10.64.0.200/24' },
  });
}

/** Gives back what a request that was taken as it was has brought about. */
async function undo(on: Member, call: string, body: unknown): Promise<void> {
  const answer = body as { PoolID?: string; Address?: string };
  const endpoint = { NetworkID: await networkOf(on), EndpointID: ENDPOINT };
  if (call === 'NetworkDriver.CreateNetwork') {
    for (const id of stateOf(on.host).get('networks')?.keys() ?? []) {
      if (id !== endpoint.NetworkID) await on.plugin.call('NetworkDriver.DeleteNetwork', { NetworkID: id });
    }
  } else if (answer.PoolID !== undefined) {
    await on.plugin.call('IpamDriver.ReleasePool', { PoolID: answer.PoolID });
  } else if (answer.Address !== undefined) {
    const [PoolID] = stateOf(on.host).get('pools')?.keys() ?? [];
    await on.plugin.call('IpamDriver.ReleaseAddress', { PoolID, Address: answer.Address.split('/')[0] });
  } else if (/Endpoint|Join|External|Leave/.test(call)) {
    await on.plugin.call('NetworkDriver.DeleteEndpoint', endpoint);
  }
}

let web: string | undefined;
const networkOf = async (on: Member): Promise<string> => {
  web ??= await on.must('network', 'inspect', '-f', '{{.Id}}', 'web');
  return web;
};

async function hangUps(t: Test, on: Member): Promise<void> {
  const { plugin } = on;

  await t.test('who hangs up on RequestPool leaves no pool and no claim', async (t) => {
    const before = await withoutAddresses(on);
    const body = { AddressSpace: 'vpc', Pool: '', SubPool: '', Options: { pool: '10.80.0.0/16' }, V6: false };
    await unread(plugin, () => hangUp(plugin, 'IpamDriver.RequestPool', body, 0));
    // One that waits for its answer comes after them all.
    const { body: own } = await plugin.call('IpamDriver.RequestPool', body);
    await plugin.call('IpamDriver.ReleasePool', own);
    const pools = () => stateOf(on.host).get('pools')?.size;
    await until('the end of what nobody waits for', () => pools() === 1, { timeoutMs: 15_000 });
    t.same(await withoutAddresses(on), before);
  });

  await t.test('who hangs up on RequestAddress leaves no address taken', async (t) => {
    const [PoolID] = stateOf(on.host).get('pools')?.keys() ?? [];
    const addresses = () => [...(stateOf(on.host).get('addresses')?.values() ?? [])] as { readonly phase: string }[];
    const held = () => addresses().filter(({ phase }) => phase === 'held').length;
    const before = held();
    const body = { PoolID, Address: '', Options: {} };
    await unread(plugin, () => hangUp(plugin, 'IpamDriver.RequestAddress', body, 0));
    const { body: own } = await plugin.call('IpamDriver.RequestAddress', body);
    await plugin.call('IpamDriver.ReleaseAddress', {
      PoolID,
      Address: (own as { Address: string }).Address.split('/')[0],
    });
    await until('the end of what nobody waits for', () => held() === before, { timeoutMs: 15_000 });
    t.equal(held(), before);
  });

  await t.test('who hangs up on Join and asks again gets the same answer, and Leave takes it all back', async (t) => {
    const ids = { NetworkID: await networkOf(on), EndpointID: ENDPOINT };
    const before = await withoutAddresses(on);
    t.match(await plugin.call('NetworkDriver.CreateEndpoint', { ...ids, Interface: { Address: '10.64.0.201/24' } }), {
      status: 200,
    });
    const join = { ...ids, SandboxKey: '/var/run/docker/netns/0123456789ab' };
    for (let ms = 0; ms < 6; ms += 1) await hangUp(plugin, 'NetworkDriver.Join', join, ms);
    const answer = await plugin.call('NetworkDriver.Join', join);
    t.match(answer, { status: 200, body: { InterfaceName: { DstPrefix: 'eth' } } });
    t.same((await plugin.call('NetworkDriver.Join', join)).body, answer.body);
    await plugin.call('NetworkDriver.Leave', ids);
    await plugin.call('NetworkDriver.DeleteEndpoint', ids);
    t.same(await withoutAddresses(on), before);
  });
}

/**
 * Runs `work` five times while the plugin stands still, so that it finds what was sent when the sender has gone: an
 * answer that was quicker than the hang-up would count as received.
 */
async function unread(plugin: InstalledPlugin, work: () => Promise<void>): Promise<void> {
  const pid = plugin.pid() ?? 0;
  const noticed = () => plugin.log().filter((line) => line.includes('the caller hung up before the answer')).length;
  const before = noticed();
  signal(pid, 'SIGSTOP');
  try {
    for (let i = 0; i < 5; i += 1) await work();
  } finally {
    signal(pid, 'SIGCONT');
  }
  await until('the plugin noticing', () => noticed() === before + 5);
}

/** Addresses that rest after their release are not left over. */
const withoutAddresses = async (on: Member): Promise<string[]> =>
  (await on.leftovers()).filter((line) => !line.startsWith('state addresses/'));

/** Sends a whole request and is gone `ms` later, whatever the answer. */
async function hangUp(plugin: InstalledPlugin, method: string, body: unknown, ms: number): Promise<void> {
  const text = JSON.stringify(body);
  const head = `POST /${method} HTTP/1.1\r\nHost: x\r\nContent-Length: ${Buffer.byteLength(text)}\r\n\r\n`;
  const socket = connect(plugin.socket());
  await new Promise<void>((resolve, reject) => socket.once('error', reject).write(head + text, () => resolve()));
  await sleep(ms);
  socket.destroy();
}

/** Sends something and waits until the plugin closes, or half a second. */
async function send(plugin: InstalledPlugin, text: string): Promise<void> {
  const socket = connect(plugin.socket());
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
  socket.on('error', () => socket.destroy());
  socket.resume();
  socket.write(text);
  await Promise.race([closed, sleep(500)]);
  socket.destroy();
}

/** As `plugin.call`, for bodies of any bytes, also when the plugin answers before it has read them. */
async function post(
  plugin: InstalledPlugin,
  method: string,
  body: string | Buffer,
): Promise<{ status: number; body: unknown; ms: number }> {
  return await new Promise((resolve, reject) => {
    const call = request({ socketPath: plugin.socket(), path: `/${method}`, method: 'POST', timeout: 10_000 });
    let answered = false;
    call.on('response', (response) => {
      answered = true;
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk;
      });
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body: JSON.parse(text) as unknown, ms: 0 }));
      response.on('error', reject);
    });
    // Writing goes on while the answer is there already, and fails then.
    call.on('error', (error) => {
      if (!answered) reject(error);
    });
    call.end(body);
  });
}

const stateText = (on: Member): string =>
  JSON.stringify([...stateOf(on.host)].map(([name, entries]) => [name, [...entries]]));
