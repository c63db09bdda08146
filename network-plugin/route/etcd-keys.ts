import { isIPv4, isIPv6 } from 'node:net';
import { parseCidr } from '../../shared/cidr.ts';
import type { KeyValue } from '../../shared/etcd/wire.ts';
import type { NextHop, Route } from './provider.ts';

/** What a host says of itself, at `<root>/<cluster>/hosts/<name>`, as long as its lease lives. */
export interface HostEntry {
  readonly name: string;
  /** Made once per host and kept in its state: two hosts of one name differ in it. */
  readonly id: string;
  readonly address?: string;
  readonly address6?: string;
}

/** A claim, at `<root>/<cluster>/routes/<prefix>`, under its host's lease. */
export interface ClaimEntry {
  readonly prefix: string;
  readonly pool: string;
  readonly host: string;
  readonly id: string;
  readonly nextHop?: string;
  readonly nextHop6?: string;
  readonly lease: string;
  readonly modRevision: number;
}

/** Where in etcd a cluster keeps what. A slash inside a name is escaped, so that no cluster lies within another. */
export class EtcdKeys {
  readonly base: string;
  readonly routes: string;
  readonly hosts: string;

  constructor(root: string, cluster: string) {
    this.base = `${root.replace(/\/+$/, '')}/${escaped(cluster)}/`;
    this.routes = `${this.base}routes/`;
    this.hosts = `${this.base}hosts/`;
  }

  route(prefix: string): string {
    return this.routes + escaped(prefix);
  }

  host(name: string): string {
    return this.hosts + escaped(name);
  }

  /** The prefix that a key stands for; undefined when it is not a route's key. */
  prefixOf(key: string): string | undefined {
    if (!key.startsWith(this.routes)) return undefined;
    try {
      return parseCidr(unescaped(key.slice(this.routes.length))).text;
    } catch {
      // Somebody else's key among ours claims nothing.
      return undefined;
    }
  }
}

const escaped = (text: string): string => text.replaceAll('%', '%25').replaceAll('/', '%2F');
const unescaped = (text: string): string => text.replaceAll('%2F', '/').replaceAll('%25', '%');

const fields = (value: string): Readonly<Record<string, unknown>> => {
  try {
    const parsed: unknown = JSON.parse(value);
    return typeof parsed === 'object' && parsed !== null ? { ...parsed } : {};
  } catch {
    // An unreadable value still holds its key.
    return {};
  }
};

const text = (value: unknown, otherwise: string): string =>
  typeof value === 'string' && value !== '' ? value : otherwise;

export const writeHost = (host: NextHop, id: string): string =>
  JSON.stringify({
    name: host.host,
    id,
    nextHop: host.address,
    nextHop6: host.address6,
    since: new Date().toISOString(),
  });

export const readHost = (kv: KeyValue): HostEntry => {
  const { name, id, nextHop, nextHop6 } = fields(kv.value);
  return {
    name: text(name, 'unknown'),
    id: text(id, 'unknown'),
    ...(typeof nextHop === 'string' && isIPv4(nextHop) && { address: nextHop }),
    ...(typeof nextHop6 === 'string' && isIPv6(nextHop6) && { address6: nextHop6 }),
  };
};

export const writeClaim = (prefix: string, pool: string, host: NextHop, id: string): string =>
  JSON.stringify({
    prefix,
    pool,
    host: host.host,
    id,
    nextHop: host.address,
    nextHop6: host.address6,
    claimedAt: new Date().toISOString(),
  });

/** A claim as it stands in etcd; one whose value cannot be read is still a claim of its prefix, by an unknown host. */
export const readClaim = (prefix: string, kv: KeyValue): ClaimEntry => {
  const { pool, host, id, nextHop, nextHop6 } = fields(kv.value);
  return {
    prefix,
    pool: text(pool, prefix),
    host: text(host, 'unknown'),
    id: text(id, 'unknown'),
    ...(typeof nextHop === 'string' && isIPv4(nextHop) && { nextHop }),
    ...(typeof nextHop6 === 'string' && isIPv6(nextHop6) && { nextHop6 }),
    lease: kv.lease,
    modRevision: kv.modRevision,
  };
};

/** A claim in the words of the contract, as seen by the host of this id. */
export const routeOf = (claim: ClaimEntry, id: string): Route => ({
  prefix: claim.prefix,
  pool: claim.pool,
  nextHop: {
    host: claim.host,
    ...(claim.nextHop && { address: claim.nextHop }),
    ...(claim.nextHop6 && { address6: claim.nextHop6 }),
  },
  state: 'active',
  ours: claim.id === id,
});
