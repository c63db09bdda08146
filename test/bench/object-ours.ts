import type { Mounter } from './object-mounts.ts';

export const OURS: readonly Mounter[] = [];
