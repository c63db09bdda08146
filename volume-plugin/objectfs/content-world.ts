import { type Context, newContext } from '../../shared/context.ts';
import type { Logger } from '../../shared/log.ts';
import type { ObjectStore } from '../object/store.ts';
import type { BlockCache } from './block-cache.ts';
import type { Memory } from './budget.ts';
import type { Base } from './content.ts';
import type { PartSizes } from './parts-plan.ts';
import type { StagingRoom } from './staging-room.ts';
import type { StateLog } from './state-log.ts';

/** What the contents of a volume share. */
export interface World {
  readonly store: ObjectStore;
  readonly log: StateLog;
  readonly logger: Logger;
  /** For as long as the engine lives. */
  readonly context: Context;
  readonly memory: Memory;
  readonly room: StagingRoom;
  readonly sizes: PartSizes;
  /** How long a store that does not answer is waited for. */
  readonly retryMs: number;
  /** Undefined: there is none. */
  readonly cache: BlockCache | undefined;
  /** Memory that may be used until this turn of the event loop is over. */
  passing(bytes: number): Buffer;
  /** May so many bytes of memory wait for the cache's disk? `soon`: they would not wait behind many others. */
  mayKeep(bytes: number): 'soon' | 'later' | undefined;
  keeping(bytes: number): void;
  /** Bytes of an object that this host may have, straight into memory. Errors: StoreError. */
  fetch(base: Base, offset: number, into: Buffer, c: Context): Promise<void>;
}

/** Slower than that a line is as good as dead. */
const BYTES_PER_MS = 64;

/** For one call that moves so many bytes. */
export const callContext = (world: World, bytes: number, parent: Context = world.context): Context =>
  newContext(world.logger, Math.max(world.retryMs, 60_000) + bytes / BYTES_PER_MS, parent);
