import type { Host } from './namespace-world.ts';

/** A file that a host has open, or that is not in the bucket as it is there. */
export interface Local {
  node: number;
  /** Undefined: it was unlinked, or replaced, by this host. */
  path: string | undefined;
  /** Where it was before it was renamed here. */
  readonly former: string[];
  bytes: string;
  dirty: boolean;
  /** What may be in the bucket of it: every state since it was clean last, with a mask of what was written since. */
  versions: Map<string, string>;
  /** `w` where it was written to since it was clean: other bytes come from what the other host may have removed. */
  mask: string;
  /** What an upload replaces; undefined: nothing. */
  base: string | undefined;
  handles: number[];
  /** Others have changed, removed or renamed it, or its folder, since it was opened here. */
  disturbed: boolean;
  /** Its bytes have been kept beside somebody else's. */
  kept: boolean;
  /** So they have, while it was open, and nobody was told. Of bytes that are also those that have won nobody need be. */
  untold: 'must' | 'may' | undefined;
  /** The other state that `base` may be: both hosts have brought the same bytes, or the answer of an upload was lost. */
  orBase: { readonly text: string | undefined } | undefined;
  /** What it had brought there for a moment, until the other host's upload replaced that, or its rename took it along. */
  passed: string | undefined;
  /** The step in which it has lost its name here: until then it may have been brought there. */
  cutAt: number | undefined;
}

export interface Side {
  readonly name: string;
  durability: 'server' | 'local';
  host: Host;
  locals: Local[];
  /** Those that were unlinked last: they may be being kept beside somebody else's still. */
  gone: Local[];
}
