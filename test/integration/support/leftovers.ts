/** What the network plugin has on a host: in the kernel, in its state, and at the route provider. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { decodeJournal, decodeSnapshot } from '../../../shared/state/format.ts';
import type { Etcd } from '../../rig/etcd.ts';
import type { Host } from '../../rig/host.ts';

/** The number of our routes (RTPROT_DRAYAGE). */
const PROTOCOL = '68';

/** Records of the plugin's state by collection and id, as they are on the disk at this moment. */
export function stateOf(host: Host): Map<string, Map<string, unknown>> {
  const folder = join(host.stateFolder, 'network/state');
  const state = new Map<string, Map<string, unknown>>();
  const snapshotFile = join(folder, 'snapshot.json');
  if (!existsSync(snapshotFile)) return state;
  const snapshot = decodeSnapshot(readFileSync(snapshotFile, 'utf8'));
  for (const [name, entries] of Object.entries(snapshot.records)) state.set(name, new Map(entries));
  for (const { n, changes } of decodeJournal(readFileSync(join(folder, 'journal.jsonl'))).writes) {
    if (n <= snapshot.n) continue;
    for (const { collection, id, record } of changes) {
      const records = state.get(collection) ?? new Map<string, unknown>();
      state.set(collection, records);
      if (record === undefined) records.delete(id);
      else records.set(id, record);
    }
  }
  return state;
}

/**
 * One line for each veth, route, proxy neighbour, port, firewall entry, state record and claim that the plugin has made
 * for networks and containers on this host. Empty when the host has no `vpc` network.
 */
export async function leftovers(host: Host, etcd?: Etcd): Promise<string[]> {
  const parts = await Promise.all([
    links(host),
    routes(host),
    neighbours(host),
    listeners(host),
    tableEntries(host),
    forwardRules(host),
    records(host),
    etcd === undefined ? [] : claims(etcd, host),
  ]);
  return parts.flat();
}

/** Links `dry…` and `drc…` in the host's namespace. */
export async function links(host: Host): Promise<string[]> {
  const found = JSON.parse((await host.must(['ip', '-j', 'link'])) || '[]') as { ifname: string }[];
  return found.filter(({ ifname }) => /^dr[yc]/.test(ifname)).map(({ ifname }) => `link ${ifname}`);
}

/** Routes of the plugin's protocol number, of both families. */
export async function routes(host: Host): Promise<string[]> {
  const found: string[] = [];
  for (const family of ['-4', '-6']) {
    const text = await host.must(['ip', family, 'route', 'show', 'table', 'all', 'proto', PROTOCOL]);
    for (const line of text.split('\n')) if (line.trim() !== '') found.push(`route ${line.trim()}`);
  }
  return found;
}

/** Proxy entries that belong to no link, or to one of ours. */
async function neighbours(host: Host): Promise<string[]> {
  const text = await host.must(['ip', '-6', 'neighbour', 'show', 'proxy']);
  return text
    .split('\n')
    .filter((line) => line.trim() !== '')
    .map((line) => `proxy neighbour ${line.trim()}`);
}

/** Sockets by which the plugin reserves published ports. */
async function listeners(host: Host): Promise<string[]> {
  const text = await host.must(['ss', '-Hlntup']);
  return text
    .split('\n')
    .filter((line) => /"(node|node-MainThread|MainThread)"/.test(line))
    .map((line) => `listener ${line.trim().replace(/\s+/g, ' ')}`);
}

/** What our nftables table says of networks and ports: elements of port sets and verdict maps, chains of networks. */
async function tableEntries(host: Host): Promise<string[]> {
  const outcome = await host.exec(['nft', 'list', 'table', 'inet', 'drayage']);
  if (outcome.code !== 0) return [];
  const found: string[] = [];
  for (const [, kind = '', name = '', body = ''] of outcome.stdout.matchAll(
    /^\t(set|map|chain) (\S+) \{\n(.*?)^\t\}$/gms,
  )) {
    if (kind === 'chain' && /^(to|from|leave)_(?!auto$)/.test(name)) found.push(`nft chain ${name}`);
    const elements = /elements = \{([^}]*)\}/.exec(body)?.[1]?.trim().replace(/\s+/g, ' ');
    if (elements !== undefined && !/^(pools|local)[46]$/.test(name)) found.push(`nft ${kind} ${name}: ${elements}`);
  }
  return found;
}

/**
 * Rules that name us in iptables' tables beyond the two accepts and the one jump, which stay as long as the plugin runs
 * (each variant and family has three lines then).
 */
async function forwardRules(host: Host): Promise<string[]> {
  const found: string[] = [];
  for (const tool of ['iptables-nft-save', 'iptables-legacy-save', 'ip6tables-nft-save', 'ip6tables-legacy-save']) {
    const { stdout } = await host.exec([tool]);
    const ours = stdout.split('\n').filter((line) => /^-A .*(DRAYAGE|dry)/.test(line));
    const extra = ours.filter(
      (line, index) => !/ACCEPT$|-j DRAYAGE-FORWARD$/.test(line) || ours.indexOf(line) !== index,
    );
    found.push(...extra.map((line) => `${tool} ${line}`));
  }
  return found;
}

/** Everything in the state but the host's own record. */
function records(host: Host): string[] {
  return [...stateOf(host)]
    .filter(([collection]) => collection !== 'hosts')
    .flatMap(([collection, entries]) => [...entries.keys()].map((id) => `state ${collection}/${id}`));
}

/** Claims of this host in etcd, and of nobody else. */
async function claims(etcd: Etcd, host: Host): Promise<string[]> {
  const entries = await etcd.list('/drayage');
  return entries
    .filter(({ key, value }) => key.includes('/routes/') && value.includes(`"host":"${host.name}"`))
    .map(({ key }) => `etcd ${key}`);
}
