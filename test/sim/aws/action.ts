/** The shape of an EC2 action. */
import type { Quotas } from '../core/quotas.ts';
import type { TokenMemory } from '../core/token-memory.ts';
import type { Parameters } from './parameters.ts';
import type { Storage } from './storage.ts';
import type { World } from './world.ts';
import type { Xml } from './xml.ts';

export interface Surroundings {
  readonly world: World;
  readonly storage: Storage;
  readonly quotas: Quotas;
  readonly tokens: TokenMemory<{ readonly [name: string]: Xml }>;
  /** Entries on a page where the caller does not ask for a number. */
  readonly pageSize: number;
  /** The simulator's time. */
  now(): number;
}

type Reply = { readonly [name: string]: Xml };

export interface Action {
  /** Parameters beside Action, Version and DryRun, without their numbers: others are refused. */
  readonly accepts: readonly string[];
  /** Does it and answers the elements of the reply; throws ApiError to refuse. */
  run(parameters: Parameters, around: Surroundings): Reply | Promise<Reply>;
}

export type Actions = Readonly<Record<string, Action>>;
