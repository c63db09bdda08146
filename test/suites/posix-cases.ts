/** All that is said of POSIX, and what is not. */
import { FILES } from './posix-files.ts';
import { NAMES } from './posix-names.ts';
import { RIGHTS } from './posix-rights.ts';
import type { Case } from './posix-scene.ts';

export const CASES: readonly Case[] = [...NAMES, ...FILES, ...RIGHTS];

/** What volumes of objects do not do, why, and how a program is told. Cases of these accept the refusal, or are not there. */
export const OUT_OF_SCOPE: readonly (readonly [what: string, why: string])[] = [
  ['hard links: EPERM', 'an object has one key'],
  ['paths of more than 1,024 bytes', 'keys of stores are no longer'],
  ['links of folders that count what is in them: there are always two', 'a listing is not read for it'],
  ['device nodes that are used', 'a mount for containers is nodev'],
  ['access times that follow reads', 'each would be a write to the store; they are as they were set'],
  ['RENAME_EXCHANGE', 'a store cannot exchange two objects in one step'],
  ['room that is reserved (fallocate beyond the end)', 'a store has no room to reserve'],
  ['quotas and ACLs', 'the store has its own'],
];
