import { type Context, newContext } from '../../shared/context.ts';
import type { Logger } from '../../shared/log.ts';
import type { ObjectStore } from '../object/store.ts';
import type { Memory } from './budget.ts';
import type { Base } from './content.ts';
import type { Layer } from './content-layer.ts';
import type { PartSizes } from './parts-plan.ts';
import type { BaseReader } from './reader.ts';
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
  reader(base: Base): BaseReader;
  /** Bytes of an object that this host may have, straight into memory. Errors: StoreError. */
  fetch(base: Base, offset: number, into: Buffer, c: Context): Promise<void>;
  /** A descriptor of a local file that has all of it; undefined: there is none. It stays open until the base is given up by all. */
  local(base: Base): number | undefined;
  /** What was written is an object now: its staging file may become its copy on this host. True when it was taken. */
  adopt(base: Base, layer: Layer): boolean;
}

/** Slower than that a line is as good as dead. */
const BYTES_PER_MS = 64;

/** For one call that moves so many bytes. */
export const callContext = (world: World, bytes: number): Context =>
  newContext(world.logger, Math.max(world.retryMs, 60_000) + bytes / BYTES_PER_MS, world.context);
