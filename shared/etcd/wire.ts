/** etcd's v3 JSON gateway: numbers of 64 bits are texts, keys and values are base64, default values are left out. */

export interface WireHeader {
  readonly revision?: string;
}

export interface WireKeyValue {
  readonly key?: string;
  readonly value?: string;
  readonly create_revision?: string;
  readonly mod_revision?: string;
  readonly version?: string;
  readonly lease?: string;
}

export interface WireRange {
  readonly header?: WireHeader;
  readonly kvs?: readonly WireKeyValue[];
}

export interface WireTxn {
  readonly header?: WireHeader;
  readonly succeeded?: boolean;
  readonly responses?: readonly { readonly response_range?: WireRange }[];
}

export interface WireWatch {
  readonly header?: WireHeader;
  readonly created?: boolean;
  readonly canceled?: boolean;
  readonly cancel_reason?: string;
  readonly compact_revision?: string;
  readonly events?: readonly { readonly type?: 'PUT' | 'DELETE'; readonly kv?: WireKeyValue }[];
}

/** Up to 3.5 gRPC's code is `code`, or `grpc_code` in a stream; the text is `error` or `message`. */
export interface WireError {
  readonly code?: number;
  readonly grpc_code?: number;
  readonly error?: string;
  readonly message?: string;
}

/** One key as it is at a revision. */
export interface KeyValue {
  readonly key: string;
  readonly value: string;
  readonly createRevision: number;
  readonly modRevision: number;
  /** Empty when the key has no lease. A text: leases have 64 bits. */
  readonly lease: string;
}

export const encode = (text: string): string => Buffer.from(text, 'utf8').toString('base64');

const decode = (text: string | undefined): string => Buffer.from(text ?? '', 'base64').toString('utf8');

export const keyValue = (wire: WireKeyValue): KeyValue => ({
  key: decode(wire.key),
  value: decode(wire.value),
  createRevision: Number(wire.create_revision ?? 0),
  modRevision: Number(wire.mod_revision ?? 0),
  lease: wire.lease === undefined || wire.lease === '0' ? '' : wire.lease,
});

/** The end of the range of all keys that begin with `prefix`: its last byte plus one. */
export const prefixEnd = (prefix: string): string => {
  const bytes = Buffer.from(prefix, 'utf8');
  for (let i = bytes.length - 1; i >= 0; i -= 1) {
    const byte = bytes[i] ?? 0xff;
    if (byte < 0xff) return Buffer.concat([bytes.subarray(0, i), Buffer.from([byte + 1])]).toString('base64');
  }
  // A single zero byte: to the end of all keys.
  return 'AA==';
};

/** What went wrong, in the sense of what to do about it. */
export type EtcdErrorKind =
  /** No endpoint answered, or none could serve: later is another day. A write may or may not have happened. */
  | 'unreachable'
  /** Credentials or rights. */
  | 'auth'
  | 'lease-gone'
  /** The revision asked for is no longer kept. */
  | 'compacted'
  /** Anything else that the server said no to. */
  | 'refused';

/** A failure of etcd or of the way to it. The text bears no secrets. */
export class EtcdError extends Error {
  override readonly name = 'EtcdError';
  readonly kind: EtcdErrorKind;

  constructor(kind: EtcdErrorKind, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.kind = kind;
  }
}

/** The token is not, or no longer, good: log in again and repeat. */
export const isStaleToken = (wire: WireError): boolean => {
  const text = wire.error ?? wire.message ?? '';
  return /invalid auth token|revision of auth store is old/.test(text) || codeOf(wire) === 16;
};

const codeOf = (wire: WireError): number => wire.grpc_code ?? wire.code ?? 2;

/** Codes of gRPC: https://grpc.io/docs/guides/status-codes/; texts of etcd: api/v3rpc/rpctypes/error.go. */
export const errorOf = (wire: WireError): EtcdError => {
  const text = wire.error ?? wire.message ?? 'no reason given';
  const code = codeOf(wire);
  const kind = ((): EtcdErrorKind => {
    if (/lease not found/.test(text)) return 'lease-gone';
    if (/revision has been compacted/.test(text)) return 'compacted';
    if (/authentication failed|user name is empty|permission denied|invalid auth token/.test(text)) return 'auth';
    if (code === 7 || code === 16) return 'auth';
    // Deadline exceeded, aborted, unavailable, and "cancelled" when the server stops.
    if (code === 14 || code === 4 || code === 10 || code === 1) return 'unreachable';
    return 'refused';
  })();
  return new EtcdError(kind, text);
};
