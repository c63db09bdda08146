import type { Part } from '../object/store.ts';
import type { Base, Description } from './content.ts';
import { LayerState } from './content-layer.ts';
import type { StateRecord } from './state-log.ts';

/**
 * The records of contents. Each names a node; layers are told by the names of their staging files. `tail`: where the staging
 * file of the layer ended when the record was made, which ends what was appended without records.
 */
export const OF_CONTENT = 'content';

type Fields = Omit<StateRecord, 'of'>;
const record = (op: string, node: number, fields: Fields): StateRecord => ({ of: OF_CONTENT, op, node, ...fields });
const tailOf = (end: number | undefined): Fields => (end === undefined ? {} : { tail: end });

const fieldsOf = (base: Base | undefined): readonly (string | number)[] =>
  base === undefined ? [] : [base.key, base.etag, base.size];

/** An upload in parts, begun while the file is written or at a flush. */
export interface UploadState {
  readonly id: string;
  readonly key: string;
  /** What its object's metadata will have as `drayage-write`. */
  readonly token: string;
  readonly described: Description;
  /** Unchanged pieces are copied: its parts are of use to this one snapshot only. */
  readonly copies: boolean;
  /** Its parts are of what the file is with its lowest so many layers. */
  layers: number;
  /** By number: where each part begins, and what the store told. */
  readonly parts: Map<number, { readonly offset: number; readonly part: Part }>;
}

export const records = {
  /** The first life that writes in a host's life between two starts: what was not synced before counts no more. */
  boot: (id: string): StateRecord => record('boot', 0, { id }),
  /** A layer begins, over the one before or over the base. */
  open: (node: number, id: string, base: Base | undefined, size: number, limit: number, below?: number): StateRecord =>
    record('open', node, { id, base: fieldsOf(base), size, limit, ...tailOf(below) }),
  tail: (node: number, from: number, tail?: number): StateRecord => record('tail', node, { from, ...tailOf(tail) }),
  write: (node: number, start: number, end: number, tail?: number): StateRecord =>
    record('write', node, { at: [start, end], ...tailOf(tail) }),
  cut: (node: number, size: number, tail?: number): StateRecord => record('cut', node, { size, ...tailOf(tail) }),
  zero: (node: number, start: number, end: number, size: number, tail?: number): StateRecord =>
    record('zero', node, { at: [start, end], size, ...tailOf(tail) }),
  /** The bytes of the upper layer are in the lower one now. */
  merge: (node: number, tail?: number): StateRecord => record('merge', node, tailOf(tail)),
  /** What was written before is wanted in the store. */
  wanted: (node: number): StateRecord => record('wanted', node, {}),
  /** It is on the disk, whatever happens to the host. */
  synced: (node: number): StateRecord => record('synced', node, {}),
  /** An object with this token may have been put: what the file is with its lowest `layers`. */
  put: (node: number, token: string, layers: number): StateRecord => record('put', node, { token, layers }),
  upload: (node: number, upload: UploadState): StateRecord =>
    record('upload', node, {
      id: upload.id,
      key: upload.key,
      token: upload.token,
      meta: upload.described.meta,
      type: upload.described.contentType ?? null,
      web: upload.described.web ?? null,
      copies: upload.copies,
      layers: upload.layers,
    }),
  part: (node: number, upload: string, offset: number, part: Part): StateRecord =>
    record('part', node, {
      id: upload,
      at: [part.number, offset, part.size],
      etag: part.etag,
      sum: part.checksum ?? null,
    }),
  /** Bytes of a part were written again. */
  spoilt: (node: number, upload: string, number: number): StateRecord => record('spoilt', node, { id: upload, number }),
  /** The upload is not there any more. */
  ended: (node: number, upload: string): StateRecord => record('ended', node, { id: upload }),
  /** The lowest `layers` are in the store (or nobody needs them), and this is what is below what remains. With 0: unchanged bytes are in another object now. */
  stored: (node: number, base: Base | undefined, layers: number): StateRecord =>
    record('stored', node, { base: fieldsOf(base), layers }),
  /** As `stored`, of what has lost against somebody else's change: whoever has it open must be told. With 0 layers: nothing else is left of it. */
  lost: (node: number, base: Base | undefined, layers: number): StateRecord =>
    record('lost', node, { base: fieldsOf(base), layers }),
  /** It is open, and nothing of it is written: what it is. */
  base: (node: number, base: Base): StateRecord => record('base', node, { base: fieldsOf(base) }),
  /** Whoever has it open was told. */
  told: (node: number): StateRecord => record('told', node, {}),
} as const;

/** What the records tell of a node whose bytes are not all in the store, or that was open. */
export interface Past {
  readonly node: number;
  base: Base | undefined;
  readonly layers: { readonly id: string; readonly state: LayerState }[];
  wanted: boolean;
  synced: boolean;
  /** Tokens of objects that may have been put. */
  readonly tokens: string[];
  /** The one whose write was of all that is here; undefined: none, or something has been changed since. */
  current: string | undefined;
  upload: UploadState | undefined;
  /** Something of it has lost against somebody else's change, and who has it open was not told. */
  lost: boolean;
}

/** Uploads in parts that nobody goes on with. */
export interface Left {
  readonly key: string;
  readonly id: string;
}

/** Makes of records what they tell. Records of other parts of the engine are passed over. */
export class Replay {
  readonly past = new Map<number, Past>();
  /** Of the host's last start at which was written. */
  boot: string | undefined;
  /** Ids of the layers of `past`. */
  get layers(): Set<string> {
    return new Set([...this.past.values()].flatMap((one) => one.layers.map(({ id }) => id)));
  }

  take(all: Iterable<StateRecord>): this {
    for (const one of all) if (one.of === OF_CONTENT) this.#take(one);
    return this;
  }

  #take(one: StateRecord): void {
    if (one['op'] === 'boot') {
      this.boot = text(one, 'id');
      return;
    }
    const node = number(one, 'node');
    if (one['op'] === 'open') {
      this.#open(node, one);
      return;
    }
    if (one['op'] === 'lost') this.#known(node, one).lost = true;
    if (one['op'] === 'base') this.#known(node, one).base = baseOf(one);
    const past = this.past.get(node);
    if (past === undefined) return;
    const top = past.layers.at(-1)?.state;
    const tail = one['tail'];
    if (typeof tail === 'number') top?.endTail(tail);
    switch (one['op']) {
      case 'tail':
        if (top !== undefined) top.tail = number(one, 'from');
        break;
      case 'write':
        top?.write(...pair(one));
        break;
      case 'cut':
        top?.cut(number(one, 'size'));
        break;
      case 'zero':
        top?.zero(...pair(one), number(one, 'size'));
        break;
      case 'merge':
        if (top !== undefined) {
          past.current = undefined;
          past.upload = undefined;
          past.layers.pop();
          past.layers.at(-1)?.state.merge(top);
        }
        break;
      case 'wanted':
        past.wanted = true;
        break;
      case 'synced':
        past.synced = true;
        break;
      case 'put':
        past.tokens.push(text(one, 'token'));
        past.current = past.layers.length === number(one, 'layers') ? text(one, 'token') : undefined;
        break;
      case 'stored':
      case 'lost':
        past.base = baseOf(one);
        if (number(one, 'layers') === 0) break;
        past.layers.splice(0, number(one, 'layers'));
        past.tokens.length = 0;
        past.current = undefined;
        past.upload = undefined;
        if (past.layers.length === 0) Object.assign(past, { wanted: false, synced: false });
        break;
      case 'told':
        past.lost = false;
        break;
      default:
        takeUpload(past, one);
    }
  }

  #known(node: number, one: StateRecord): Past {
    const past: Past = this.past.get(node) ?? {
      node,
      base: baseOf(one),
      layers: [],
      wanted: false,
      synced: false,
      tokens: [],
      current: undefined,
      upload: undefined,
      lost: false,
    };
    this.past.set(node, past);
    return past;
  }

  #open(node: number, one: StateRecord): void {
    const past = this.#known(node, one);
    // What an earlier life has known of it is over.
    if (past.layers.length === 0) Object.assign(past, { base: baseOf(one), lost: false });
    const tail = one['tail'];
    if (typeof tail === 'number') past.layers.at(-1)?.state.endTail(tail);
    past.current = undefined;
    past.layers.push({ id: text(one, 'id'), state: new LayerState(number(one, 'size'), number(one, 'limit')) });
  }
}

const takeUpload = (past: Past, one: StateRecord): void => {
  const { upload } = past;
  const id = one['id'];
  if (one['op'] === 'upload') {
    const type = one['type'];
    past.upload = {
      id: text(one, 'id'),
      key: text(one, 'key'),
      token: text(one, 'token'),
      described: {
        meta: texts(one, 'meta'),
        ...(typeof type === 'string' && { contentType: type }),
        ...(one['web'] !== null && { web: texts(one, 'web') }),
      },
      copies: one['copies'] === true,
      layers: number(one, 'layers'),
      parts: new Map(),
    };
  } else if (upload === undefined || upload.id !== id) {
    return;
  } else if (one['op'] === 'part') {
    const [number, offset, size] = numbers(one);
    const sum = one['sum'];
    const part = {
      number: number ?? 0,
      etag: text(one, 'etag'),
      size: size ?? 0,
      ...(typeof sum === 'string' && { checksum: sum }),
    };
    upload.parts.set(part.number, { offset: offset ?? 0, part });
  } else if (one['op'] === 'spoilt') {
    upload.parts.delete(number(one, 'number'));
  } else if (one['op'] === 'ended') {
    past.upload = undefined;
  }
};

/** What makes a `Past` again: for a compaction. `lengthOf`: of staging files, where that is known; before it is, tails stay as they are. */
export function* recordsOf(past: Past, lengthOf: (layer: string) => number | undefined): Generator<StateRecord> {
  const { node } = past;
  let below: number | undefined;
  let under = past.base?.size ?? 0;
  for (const { id, state } of past.layers) {
    yield records.open(node, id, past.base, under, under, below);
    if (state.limit < under) yield records.cut(node, state.limit);
    for (const { start, end } of state.holes) yield records.zero(node, start, end, state.size);
    for (const { start, end } of state.written) yield records.write(node, start, end);
    yield records.cut(node, state.size);
    below = lengthOf(id);
    if (state.tail !== undefined) yield records.tail(node, below ?? state.tail);
    under = state.size;
  }
  for (const token of past.tokens) yield records.put(node, token, token === past.current ? past.layers.length : 0);
  if (past.upload !== undefined) {
    yield records.upload(node, past.upload);
    for (const { offset, part } of past.upload.parts.values()) yield records.part(node, past.upload.id, offset, part);
  }
  if (past.lost) yield records.lost(node, past.base, 0);
  else if (past.layers.length === 0 && past.base !== undefined) yield records.base(node, past.base);
  if (past.synced) yield records.synced(node);
  if (past.wanted) yield records.wanted(node);
}

/** A log that this version did not write, or that is damaged: nothing can be known of it. */
const broken = (one: StateRecord, field: string): Error =>
  new TypeError(`a record of contents in the state log has no ${field}: ${JSON.stringify(one).slice(0, 200)}`);

const number = (one: StateRecord, field: string): number => {
  const value = one[field];
  if (typeof value !== 'number') throw broken(one, field);
  return value;
};

const text = (one: StateRecord, field: string): string => {
  const value = one[field];
  if (typeof value !== 'string') throw broken(one, field);
  return value;
};

const numbers = (one: StateRecord): readonly number[] => {
  const value = one['at'];
  if (!Array.isArray(value)) throw broken(one, 'at');
  return value.map(Number);
};

const pair = (one: StateRecord): [number, number] => {
  const [start, end] = numbers(one);
  if (start === undefined || end === undefined) throw broken(one, 'at');
  return [start, end];
};

const baseOf = (one: StateRecord): Base | undefined => {
  const value = one['base'];
  if (!Array.isArray(value)) throw broken(one, 'base');
  if (value.length === 0) return undefined;
  const [key, etag, size] = value;
  return { key: String(key), etag: String(etag), size: Number(size) };
};

const texts = (one: StateRecord, field: string): Readonly<Record<string, string>> => {
  const value = one[field];
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw broken(one, field);
  return Object.fromEntries(Object.entries(value).map(([name, said]) => [name, String(said)]));
};
