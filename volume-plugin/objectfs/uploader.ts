import { randomBytes } from 'node:crypto';
import { sleep } from '../../shared/context.ts';
import { pauseMs } from '../../shared/retry.ts';
import { type ObjectDetails, type ObjectFacts, StoreError, type WriteCondition } from '../object/store.ts';
import type { Base, Description } from './content.ts';
import { isLost } from './content-errors.ts';
import { piecesOf, type Snapshot } from './content-layer.ts';
import { callContext, type World } from './content-world.ts';
import { type PlannedPart, partsWithCopies, wholeInParts } from './parts-plan.ts';
import { PartsUpload, TOKEN, withToken } from './parts-upload.ts';
import { Patience } from './uploader-patience.ts';

/** Parts of one file at once. */
const PARTS_AT_ONCE = 8;
/** How often a write is tried anew because of what it has found in its place. */
const TRIES = 8;

export const newToken = (): string => randomBytes(15).toString('base64url');

/** Somebody else has changed, made or removed the object meanwhile. */
export class LostUpdate extends Error {
  override readonly name = 'LostUpdate';
  readonly theirs: ObjectDetails | undefined;

  constructor(theirs: ObjectDetails | undefined) {
    super('the object was changed by somebody else');
    this.theirs = theirs;
  }
}

/** The name under which it was to be stored is another one by now. */
class Renamed extends Error {
  override readonly name = 'Renamed';
}

/** A file on its way to the store, as its content lets it be handled. */
export interface Freight {
  readonly node: number;
  readonly snapshot: Snapshot;
  /** The object that is to be replaced; it changes when an earlier write of ours is found in its place. */
  base(): Base | undefined;
  key(): string | undefined;
  replaces(): string | undefined;
  describe(): Description;
  /** Of writes whose outcome is open. */
  readonly tokens: readonly string[];
  /** The one whose write was of this very snapshot, if any was. */
  readonly current: string | undefined;
  /** Tells the state log, before a write is made. */
  announce(token: string): void;
  /** An upload in parts that goes on already. */
  upload(): PartsUpload | undefined;
  setUpload(upload: PartsUpload | undefined): void;
  /** Does what makes the object be there, when nobody holds that up. */
  place<T>(work: () => Promise<T>): Promise<T>;
  rebase(found: Base): void;
}

export interface Brought {
  readonly facts: ObjectFacts;
  readonly described: Description;
}

/**
 * Brings a file to the store. Undefined: it was unlinked meanwhile. Errors: StoreError, LostUpdate, Errno of the local disk.
 */
export const bring = async (world: World, freight: Freight): Promise<Brought | undefined> => {
  const patience = new Patience(world);
  let again = freight.current !== undefined;
  for (let tried = 1; ; tried += 1) {
    const key = freight.key();
    if (key === undefined) {
      freight.upload()?.abandon();
      freight.setUpload(undefined);
      return undefined;
    }
    try {
      if (again) {
        // Its answer was lost: all of it may be there.
        const found = await patience.call(() => world.store.head(key, callContext(world, 0)));
        if (found !== undefined && found.meta[TOKEN] === freight.current) return arrived(found);
        again = false;
      }
      return await attempt(world, freight, key, patience);
    } catch (error) {
      if (error instanceof Renamed && tried < TRIES) continue;
      const damaged = error instanceof StoreError && error.failure === 'INVALID' && freight.upload() !== undefined;
      if (damaged && tried < 3) {
        freight.upload()?.abandon();
        freight.setUpload(undefined);
        continue;
      }
      if (!isLost(error) || tried >= TRIES) throw error;
      // Unlinked or renamed here: what was there is gone by our own doing.
      if (freight.key() !== key) continue;
      const brought = await judge(world, freight, key, patience, error);
      if (brought !== undefined) return brought;
      await sleep(pauseMs(tried, { firstMs: 20 }), world.context);
    }
  }
};

const arrived = (details: ObjectDetails): Brought => {
  const { [TOKEN]: _, ...meta } = details.meta;
  const { contentType, web } = details;
  return {
    facts: details,
    described: { meta, ...(contentType !== undefined && { contentType }), ...(web !== undefined && { web }) },
  };
};

/** A condition did not hold, or something was not there: was that our own doing? Undefined: it was, or nothing is known; try again. */
const judge = async (
  world: World,
  freight: Freight,
  key: string,
  patience: Patience,
  error: unknown,
): Promise<Brought | undefined> => {
  const found = await patience.call(() => world.store.head(key, callContext(world, 0)));
  const token = found?.meta[TOKEN];
  if (found !== undefined && token !== undefined && token === freight.current) return arrived(found);
  if (found !== undefined && token !== undefined && freight.tokens.includes(token)) {
    // An earlier state of these bytes, of ours: what is unchanged since the base is the same in it.
    freight.rebase({ key, etag: found.etag, size: found.size });
    freight.upload()?.abandon();
    freight.setUpload(undefined);
    return undefined;
  }
  const wanted = conditionOf(freight, key);
  const asExpected = found === undefined ? wanted.ifAbsent === true : wanted.ifMatch === found.etag;
  if (freight.key() !== key) return undefined;
  if (!asExpected) throw new LostUpdate(found);
  const base = freight.base();
  if (base !== undefined && base.key !== key) {
    const source = await patience.call(() => world.store.head(base.key, callContext(world, 0)));
    if (source?.etag !== base.etag) throw new LostUpdate(found);
  }
  // The upload has gone, as a bucket's rules have it after some days; or the store was asked at a bad moment.
  if (error instanceof StoreError && error.failure === 'NOT_FOUND') {
    freight.upload()?.abandon();
    freight.setUpload(undefined);
  }
  return undefined;
};

export const conditionOf = (freight: Pick<Freight, 'base' | 'replaces'>, key: string): WriteCondition => {
  const base = freight.base();
  const etag = base?.key === key ? base.etag : freight.replaces();
  return etag === undefined ? { ifAbsent: true } : { ifMatch: etag };
};

/** Makes the write conditional, or looks just before it where the store has no conditions. */
const placed = async <T>(
  world: World,
  freight: Freight,
  key: string,
  conditional: boolean,
  patience: Patience,
  work: (condition: WriteCondition | undefined) => Promise<T>,
): Promise<T> =>
  patience.call(() =>
    freight.place(async () => {
      if (freight.key() !== key) throw new Renamed();
      const condition = conditionOf(freight, key);
      if (conditional) return work(condition);
      const found = await world.store.head(key, callContext(world, 0));
      if (found?.etag !== condition.ifMatch) throw new StoreError('CONFLICT', `${key} was changed`, { key });
      return work(undefined);
    }),
  );

const attempt = async (world: World, freight: Freight, key: string, patience: Patience): Promise<Brought> => {
  const { size } = freight.snapshot;
  const going = freight.upload();
  // One that may have been completed already must not be completed with other parts: nobody could tell which it was.
  const used = going?.tried === true && going.state.token !== freight.current;
  if (going !== undefined && (used || going.over || going.state.key !== key || size <= world.sizes.putMost)) {
    going.abandon();
    freight.setUpload(undefined);
  }
  return size <= world.sizes.putMost
    ? putAtOnce(world, freight, key, patience)
    : putInParts(world, freight, key, patience);
};

const putAtOnce = async (world: World, freight: Freight, key: string, patience: Patience): Promise<Brought> => {
  const { size } = freight.snapshot;
  const lent = await world.memory.take(size, world.context);
  try {
    await readSnapshot(world, freight, 0, lent.buffer);
    const token = newToken();
    const described = freight.describe();
    freight.announce(token);
    const facts = await placed(world, freight, key, world.store.limits.conditionalPut, patience, (condition) =>
      world.store.put(
        key,
        [lent.buffer],
        { ...withToken(described, token), ...(condition !== undefined && { condition }) },
        callContext(world, size),
      ),
    );
    lent.free();
    return { facts, described };
  } finally {
    lent.leave();
  }
};

const putInParts = async (world: World, freight: Freight, key: string, patience: Patience): Promise<Brought> => {
  const { snapshot } = freight;
  const { limits } = world.store;
  const base = freight.base();
  const pieces = piecesOf(snapshot.layers, 0, snapshot.size);
  const copies =
    base !== undefined && limits.copyPart && !limits.equalParts && freight.upload()?.state.copies !== false
      ? partsWithCopies(pieces, snapshot.size, world.sizes)
      : undefined;
  const parts = copies ?? wholeInParts(snapshot.size, world.sizes);
  let upload = freight.upload();
  if (upload === undefined) {
    upload = await PartsUpload.begin(world, freight.node, key, newToken(), freight.describe(), patience, {
      copies: copies !== undefined || limits.equalParts,
      layers: snapshot.layers.length,
    });
    freight.setUpload(upload);
  }
  const going = upload;
  await eachOf(parts, PARTS_AT_ONCE, async (part) => {
    await bringPart(world, freight, going, part, patience);
  });
  freight.announce(going.state.token);
  const facts = await placed(world, freight, key, limits.conditionalComplete, patience, (condition) =>
    going.complete(parts, condition),
  );
  freight.setUpload(undefined);
  return { facts, described: going.state.described };
};

const bringPart = async (
  world: World,
  freight: Freight,
  upload: PartsUpload,
  part: PlannedPart,
  patience: Patience,
): Promise<void> => {
  await upload.arrival(part.number);
  if (upload.has(part)) return;
  const base = freight.base();
  if (part.how === 'copy' && base !== undefined) await upload.copy(part, base, patience);
  else await upload.upload(part, (into) => readSnapshot(world, freight, part.start, into), patience);
};

/** Bytes of the file as it was when it was taken up, from wherever they are. */
export const readSnapshot = async (
  world: World,
  freight: Pick<Freight, 'snapshot' | 'base'>,
  start: number,
  into: Buffer,
  onLost?: (error: StoreError) => void,
): Promise<void> => {
  const base = freight.base();
  for (const piece of piecesOf(freight.snapshot.layers, start, start + into.length)) {
    const target = into.subarray(piece.start - start, piece.end - start);
    if (piece.from === 'zeros' || (piece.from === 'base' && base === undefined)) target.fill(0);
    else if (piece.from !== 'base') await piece.from.staging.readLater(piece.start, target);
    else if (base !== undefined) {
      try {
        await world.fetch(base, piece.start, target, callContext(world, target.length));
      } catch (error) {
        if (onLost === undefined || !(error instanceof StoreError) || !isLost(error)) throw error;
        onLost(error);
        target.fill(0);
      }
    }
  }
};

/** Up to `limit` at a time; after a failure nothing more is begun, and what goes on is waited for. */
export const eachOf = async <T>(
  items: readonly T[],
  limit: number,
  work: (item: T) => Promise<void>,
): Promise<void> => {
  let next = 0;
  let failed = false;
  const worker = async (): Promise<void> => {
    for (let at = next; at < items.length && !failed; at = next) {
      next = at + 1;
      const item = items[at];
      if (item === undefined) return;
      try {
        await work(item);
      } catch (error) {
        failed = true;
        throw error;
      }
    }
  };
  const ended = await Promise.allSettled(Array.from({ length: Math.min(limit, items.length) }, worker));
  for (const one of ended) if (one.status === 'rejected') throw one.reason;
};
