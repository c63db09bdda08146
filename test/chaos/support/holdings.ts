/** What the plugin holds on a host, in a form that can be compared before and after a crash. */
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { AddressRecord } from '../../../network-plugin/state.ts';
import { stateOf } from '../../integration/support/leftovers.ts';
import type { Member } from '../../integration/support/member.ts';
import { until } from '../../rig/command.ts';
import { WINDOWS_FILE } from './kill-point.ts';

/** Where plugin and test share files. */
export const stateFolder = (member: Member): string => join(member.host.stateFolder, 'network');

/**
 * Links, routes, ports, firewall entries, records and claims of this host, sorted. Left out: addresses that rest after
 * their release, routes to other hosts, and the process ids of sockets.
 */
export async function holdings(member: Member): Promise<string[]> {
  const addresses = stateOf(member.host).get('addresses') ?? new Map<string, unknown>();
  const resting = new Set(
    [...addresses].filter(([, record]) => (record as AddressRecord).phase === 'released').map(([id]) => id),
  );
  const lines = await member.leftovers();
  return lines
    .filter((line) => !resting.has(line.replace('state addresses/', '')))
    .filter((line) => !/^route .* via /.test(line))
    .map((line) => line.replace(/pid=\d+,fd=\d+/g, 'pid'))
    .sort();
}

/** Passes of the repair loop as if minutes had gone by, until two in a row find nothing. Resolves with what was found. */
export async function collect(member: Member): Promise<string[]> {
  const file = join(stateFolder(member), WINDOWS_FILE);
  writeFileSync(file, JSON.stringify({ retryMs: -1, orphanMs: -1 }));
  const found: string[] = [];
  try {
    // What is seen for the first time is only suspected.
    let quiet = 0;
    for (let pass = 0; quiet < 2; pass += 1) {
      const drift = await member.reconcile();
      found.push(...drift.map(({ What }) => What));
      quiet = drift.length === 0 ? quiet + 1 : 0;
      if (pass === 8) throw new Error(`${member.name}: reconcile finds no end: ${drift.map(({ What }) => What)}`);
    }
  } finally {
    rmSync(file, { force: true });
  }
  return found;
}

/** Resolves when the plugin answers; the error carries the end of the engine's log. */
export async function untilBack(member: Member): Promise<void> {
  await untilOrLog(member, 'the plugin', async () => {
    const answer = await member.plugin.call('NetworkDriver.EndpointOperInfo', PROBE, 5_000).catch(() => undefined);
    return answer?.status === 200;
  });
}

/** Asks for an endpoint that is not there, which is answered only when the plugin is ready. */
const PROBE = { NetworkID: 'a'.repeat(64), EndpointID: 'b'.repeat(64) };

/** How often the engine has found the plugin there after a start: it asks for its capabilities then. */
export function starts(member: Member): number {
  return member.plugin.log().filter((line) => /answered.*NetworkDriver\.GetCapabilities/.test(line)).length;
}

/**
 * Resolves when the engine has started the plugin once more than `before`, and found it there: it looks 0.5 s after the
 * start and then every 3 s, and a plugin that dies before it was seen is not started again but disabled (moby,
 * plugin/manager_linux.go).
 */
export async function untilRestarted(member: Member, before: number): Promise<void> {
  await untilOrLog(member, 'the restart of the plugin', () => starts(member) > before);
  await untilBack(member);
}

async function untilOrLog(member: Member, what: string, probe: () => boolean | Promise<boolean>): Promise<void> {
  try {
    await until(`${what} on ${member.name}`, probe, { timeoutMs: 20_000, everyMs: 50 });
  } catch (error) {
    const engine = member.host.engine.log().split('\n').slice(-40).join('\n');
    throw new Error(`${(error as Error).message}\n${await member.must('plugin', 'ls')}\n${engine}`);
  }
}

/** What the plugin has of containers that Docker does not have, and the other way round. */
export async function strays(member: Member): Promise<string[]> {
  const known = new Set<string>();
  for (const id of (await member.must('network', 'ls', '-q', '--no-trunc')).split('\n')) {
    const text = await member.must('network', 'inspect', '-f', '{{.Driver}} {{json .Containers}}', id);
    if (!text.startsWith('vpc')) continue;
    const containers = JSON.parse(text.slice(text.indexOf('{'))) as Record<string, { EndpointID: string }>;
    for (const { EndpointID } of Object.values(containers)) known.add(EndpointID);
  }
  const lines = await holdings(member);
  const expected = [...known].flatMap((id) => [`state endpoints/${id}`, `link dry${id.slice(0, 11)}`]);
  const present = lines.filter((line) => /^(state endpoints|link dr)/.test(line));
  const routes = lines.filter((line) => /^route (?!unreachable)/.test(line)).length;
  const held = lines.filter((line) => line.startsWith('state addresses/')).length;
  return [
    ...present.filter((line) => !expected.includes(line)).map((line) => `more than Docker: ${line}`),
    ...expected.filter((line) => !present.includes(line)).map((line) => `less than Docker: ${line}`),
    ...(routes === known.size ? [] : [`${routes} routes for ${known.size} endpoints`]),
    // The gateway has one too.
    ...(held <= known.size + 1 ? [] : [`${held} addresses for ${known.size} endpoints`]),
  ];
}
