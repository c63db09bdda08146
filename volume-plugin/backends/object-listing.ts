import type { ShareNotes } from '../nfs/share-notes.ts';
import { Listing } from './listing.ts';
import type { ObjectBuckets, OpenBucket } from './object-buckets.ts';
import { allRecords, type FoundRecord, findRecord } from './object-records.ts';

/** Finds the cluster's volumes in the buckets. */
export type ObjectListing = Listing<OpenBucket, FoundRecord>;

export const objectListing = (buckets: ObjectBuckets, notes: ShareNotes): ObjectListing =>
  new Listing(
    {
      kind: 'bucket',
      all: async () => buckets.all(),
      open: (id, c) => buckets.open(id, c),
      readAll: ({ files }, c) => allRecords(files, c),
      read: ({ files }, name, c) => findRecord(files, name, c),
      recordOf: ({ record }) => (record.removing === undefined ? record : undefined),
      // Nobody has made it, or somebody has removed it.
      isMissing: ({ code }) => code === 'BUCKET_MISSING',
      release: () => {
        // Stores stay open as long as the plugin runs.
      },
    },
    notes,
  );
