import { nearest } from '../../shared/nearest.ts';
import type { MountOptions, NfsVersion } from './share.ts';

/** What may be said after an option's equals sign. */
type Value =
  /** Nothing. */
  | { readonly kind: 'flag' }
  | { readonly kind: 'number'; readonly min: number; readonly max: number; readonly step?: number }
  | { readonly kind: 'choice'; readonly of: readonly string[] };

interface Known {
  readonly value: Value;
  /** Of options in one group only one may be there: the last word counts. */
  readonly group?: string;
  /** Only for this version's mounts. */
  readonly only?: '3' | '4';
}

const flag = (group?: string, only?: '3' | '4'): Known => ({
  value: { kind: 'flag' },
  ...(group !== undefined && { group }),
  ...(only !== undefined && { only }),
});
const number = (min: number, max: number, step?: number): Known => ({
  value: { kind: 'number', min, max, ...(step !== undefined && { step }) },
});
const choice = (...of: readonly string[]): Known => ({ value: { kind: 'choice', of } });

const DAY_S = 86_400;

/** nfs(5) and mount(8): what people may set. Anything else is refused, so that nothing hangs or breaks out of its mount. */
const KNOWN: Readonly<Record<string, Known>> = {
  rsize: number(1024, 1_048_576, 1024),
  wsize: number(1024, 1_048_576, 1024),
  timeo: number(1, 6_000),
  retrans: number(0, 100),
  acregmin: number(0, DAY_S),
  acregmax: number(0, DAY_S),
  acdirmin: number(0, DAY_S),
  acdirmax: number(0, DAY_S),
  actimeo: number(0, DAY_S),
  nconnect: number(1, 16),
  hard: flag('hard'),
  soft: flag('hard'),
  softerr: flag('hard'),
  softreval: flag('softreval'),
  nosoftreval: flag('softreval'),
  ac: flag('ac'),
  noac: flag('ac'),
  cto: flag('cto'),
  nocto: flag('cto'),
  resvport: flag('resvport'),
  noresvport: flag('resvport'),
  sharecache: flag('sharecache'),
  nosharecache: flag('sharecache'),
  rdirplus: flag('rdirplus'),
  nordirplus: flag('rdirplus'),
  acl: flag('acl', '3'),
  noacl: flag('acl', '3'),
  nolock: flag(undefined, '3'),
  migration: flag('migration', '4'),
  nomigration: flag('migration', '4'),
  atime: flag('atime'),
  noatime: flag('atime'),
  relatime: flag('atime'),
  diratime: flag('diratime'),
  nodiratime: flag('diratime'),
  sync: flag('sync'),
  async: flag('sync'),
  nodev: flag(),
  suid: flag('suid'),
  nosuid: flag('suid'),
  exec: flag('exec'),
  noexec: flag('exec'),
  lookupcache: choice('all', 'none', 'pos', 'positive'),
  local_lock: { ...choice('none', 'all', 'flock', 'posix'), only: '3' },
  write: choice('lazy', 'eager', 'wait'),
  proto: choice('tcp'),
  sec: choice('sys'),
};

/** What people may try, and what to do in its place. */
const ELSEWHERE: Readonly<Record<string, string>> = {
  ro: 'say -o readonly=true',
  rw: 'it is so unless -o readonly=true is said',
  vers: 'say -o nfsvers=',
  nfsvers: 'say -o nfsvers=',
  minorversion: 'say -o nfsvers=',
  port: 'write the share as nfs://HOST:PORT/PATH',
  addr: 'the address is that of the share',
  clientaddr: 'the address is that of this host',
  lock: 'version 3 would need rpc.statd, which the plugin has not; locks between hosts need version 4',
  tcp: 'say proto=tcp',
  udp: 'it is not for volumes: data may be damaged unnoticed',
  bg: 'a mount that nobody waits for is no mount',
  fg: 'it is so anyway',
  dev: 'a share that others can write to is no place for devices',
  intr: 'kernels ignore it',
  nointr: 'kernels ignore it',
  xprtsec: 'encryption is not supported yet',
  fsc: 'it needs cachefilesd, which the plugin has not',
};

const wrongValue = ({ value }: Known, text: string | undefined): string | undefined => {
  if (value.kind === 'flag') return text === undefined ? undefined : 'takes no value';
  if (value.kind === 'choice') {
    return text !== undefined && value.of.includes(text) ? undefined : `must be ${value.of.join(' or ')}`;
  }
  const { min, max, step = 1 } = value;
  const multiple = step === 1 ? '' : ` in steps of ${step}`;
  const fits = text !== undefined && /^\d{1,9}$/.test(text) && Number(text) >= min && Number(text) <= max;
  return fits && Number(text) % step === 0 ? undefined : `must be a whole number from ${min} to ${max}${multiple}`;
};

const partsOf = (text: string): readonly (readonly [name: string, value: string | undefined])[] =>
  text.split(',').map((part) => {
    const at = part.indexOf('=');
    return at < 0 ? [part.trim(), undefined] : [part.slice(0, at).trim(), part.slice(at + 1).trim()];
  });

const isKnown = (name: string): boolean => Object.hasOwn(KNOWN, name);

/** Why a list of mount options will not do, as a clause; undefined when it will. */
export const mountOptionsProblem = (text: string): string | undefined => {
  const seen = new Map<string, string>();
  for (const [name, value] of partsOf(text)) {
    const known = isKnown(name) ? KNOWN[name] : undefined;
    if (known === undefined) {
      const elsewhere = Object.hasOwn(ELSEWHERE, name) ? ELSEWHERE[name] : undefined;
      if (elsewhere !== undefined) return `${name} is not set here: ${elsewhere}`;
      const meant = nearest(name, Object.keys(KNOWN));
      return `"${name}" is not known${meant === undefined ? '' : `; did you mean ${meant}?`}`;
    }
    const wrong = wrongValue(known, value);
    if (wrong !== undefined) return `${name} ${wrong}`;
    const other = seen.get(known.group ?? name);
    if (other !== undefined)
      return other === name ? `${name} is there twice` : `${other} and ${name} exclude each other`;
    seen.set(known.group ?? name, name);
  }
  return undefined;
};

/** A list that `mountOptionsProblem` has nothing against, such as `rsize=65536,soft`; in the order of its writing. */
export const parseMountOptions = (text: string | undefined): MountOptions =>
  text === undefined ? {} : Object.fromEntries(partsOf(text).map(([name, value]) => [name, value ?? true]));

/** The same list however it is written: for what is compared. */
export const sortedMountOptions = (options: MountOptions): string =>
  formatMountOptions(Object.fromEntries(Object.entries(options).sort(([a], [b]) => (a < b ? -1 : 1))));

/** As the kernel takes them: `hard,timeo=600`. */
export const formatMountOptions = (options: MountOptions): string =>
  Object.entries(options)
    .map(([name, value]) => (value === true ? name : `${name}=${value}`))
    .join(',');

/** `given` in the place of `recommended`, option by option; `soft` takes the place of `hard`. */
export const mergeMountOptions = (recommended: MountOptions, given: MountOptions): MountOptions => {
  const groupOf = (name: string): string => (isKnown(name) ? KNOWN[name]?.group : undefined) ?? name;
  const taken = new Set(Object.keys(given).map(groupOf));
  const kept = Object.entries(recommended).filter(([name]) => !taken.has(groupOf(name)));
  return Object.fromEntries([...kept, ...Object.entries(given)]);
};

/** The first option that mounts of a version do not have; undefined: all are for it. */
export const strangerTo = (version: NfsVersion, options: MountOptions): string | undefined => {
  const major = version === '3' ? '3' : '4';
  return Object.keys(options).find((name) => {
    const only = isKnown(name) ? KNOWN[name]?.only : undefined;
    return only !== undefined && only !== major;
  });
};
