/**
 * What hosts tell each other about `access=single-writer` on a share, in `.drayage/leases`:
 *
 * - `<volume>.<epoch>.json`, a lease, made exclusively: of all hosts one makes each epoch. The greatest one counts.
 * - `_<host>.<share>.beat`, a sign of life of a host with all the leases that it has there, written anew every few
 *   seconds: one file for all volumes, so that hundreds of them cost what one does. No two of its writings are the same.
 */

export const LEASES = '.drayage/leases';

/** Random and made once; and its name for people. */
export interface LeaseHost {
  readonly id: string;
  readonly name: string;
}

export interface Lease {
  readonly host: LeaseHost;
  /** The name of the file of its host's signs of life. */
  readonly beat: string;
  /** Whether its host has the volume, or nobody: it was let go, or taken from its host by an operator. */
  readonly state: 'held' | 'free';
  /** Of this making: no two leases have the same. */
  readonly token: string;
  /** ISO time of its host's clock: for people. */
  readonly since: string;
  /** So long its host goes on after its last sign of life, in milliseconds. */
  readonly patienceMs: number;
  /** The name of the host that an operator took it from. */
  readonly takenFrom?: string;
}

export interface Beat {
  /** Of this writing: no two are the same. */
  readonly sign: string;
  /** Epochs of the leases that the host has, by volume. */
  readonly holds: ReadonlyMap<string, number>;
  /** Its plugin was stopped in good order while containers had these volumes: they go on, and nobody writes signs. */
  readonly stopped: boolean;
}

const FORMAT = 1;
const LONGEST_PATIENCE_MS = 3_600_000;
const BEAT_NAME = /^_[A-Za-z0-9.-]{1,100}\.beat$/;
const LEASE_NAME = /^([A-Za-z0-9][A-Za-z0-9_.-]*)\.([1-9]\d{0,14})\.json$/;

export const leasePath = (volume: string, epoch: number): string => `${LEASES}/${volume}.${epoch}.json`;

/** The epochs of each volume, from the names of the files in the folder. */
export const epochsOf = (names: readonly string[]): ReadonlyMap<string, readonly number[]> => {
  const epochs = new Map<string, number[]>();
  for (const name of names) {
    const [, volume, epoch] = LEASE_NAME.exec(name) ?? [];
    if (volume === undefined) continue;
    const known = epochs.get(volume);
    if (known === undefined) epochs.set(volume, [Number(epoch)]);
    else known.push(Number(epoch));
  }
  return epochs;
};

export const writeLease = (lease: Lease): string => `${JSON.stringify({ format: FORMAT, ...lease })}\n`;

export const writeBeat = ({ sign, holds, stopped }: Beat): string =>
  `${JSON.stringify({ format: FORMAT, sign, holds: Object.fromEntries(holds), stopped })}\n`;

/** Undefined: it cannot be read by this version. */
export const readLease = (content: string): Lease | undefined => {
  const found = parse(content);
  if (found === undefined || !isRecord(found['host'])) return undefined;
  const { state, token, since, patienceMs, takenFrom, beat, host } = found;
  const { id, name } = host;
  if (typeof id !== 'string' || typeof name !== 'string' || typeof token !== 'string') return undefined;
  if (typeof beat !== 'string' || !BEAT_NAME.test(beat)) return undefined;
  if ((state !== 'held' && state !== 'free') || typeof patienceMs !== 'number') return undefined;
  return {
    ...{ host: { id, name }, beat, state, token },
    since: typeof since === 'string' ? since : '',
    patienceMs: Math.min(Math.max(0, patienceMs), LONGEST_PATIENCE_MS),
    ...(typeof takenFrom === 'string' && { takenFrom }),
  };
};

/** Undefined: it cannot be read by this version. */
export const readBeat = (content: string): Beat | undefined => {
  const found = parse(content);
  if (found === undefined || typeof found['sign'] !== 'string' || !isRecord(found['holds'])) return undefined;
  const holds = new Map<string, number>();
  for (const [volume, epoch] of Object.entries(found['holds'])) {
    if (typeof epoch === 'number') holds.set(volume, epoch);
  }
  return { sign: found['sign'], holds, stopped: found['stopped'] === true };
};

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const parse = (content: string): Readonly<Record<string, unknown>> | undefined => {
  try {
    const found: unknown = JSON.parse(content);
    return isRecord(found) && found['format'] === FORMAT ? found : undefined;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
};
