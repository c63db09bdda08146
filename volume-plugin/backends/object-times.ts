import type { LeaseTimes } from '../nfs/lease-times.ts';

/** As on shares, but seldom: each sign of life is a write and a listing, which clouds charge for. */
export const BUCKET_LEASE_TIMES: LeaseTimes = {
  beatMs: 10_000,
  patienceMs: 45_000,
  marginMs: 20_000,
  aliveMs: 22_000,
  lookMs: 2_000,
  gapMs: 20_000,
  resumeMs: 15_000,
  roundMs: 8_000,
};
