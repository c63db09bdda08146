/** What the real AWS allows an account, as far as it is simulated. */
import type { RateTable } from '../core/rates.ts';

/** The real cloud's, by default: per account, region and API. */
export const awsRates: RateTable = {
  '*': { burst: 50, perSecond: 5 },
  'Describe*': { burst: 100, perSecond: 20 },
};

export const awsQuotas = {
  'routes-per-table': 500,
  volumes: 5000,
  /** Of all types together; the real cloud counts them apart. */
  'volume-gib': 51_200,
  'modified-gib': 51_200,
  snapshots: 100_000,
  'file-systems': 1000,
  'targets-per-vpc': 1400,
  'groups-per-target': 5,
  /** Of one file system. */
  'access-points': 10_000,
  /** Of one volume. */
  'pending-snapshots': 5,
  'seconds-between-snapshots': 15,
  'hours-between-modifications': 6,
};
