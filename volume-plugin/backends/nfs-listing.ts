import type { MountedShare } from '../nfs/mounted-share.ts';
import { readRecord, readRecords, type ShareRecord } from '../nfs/records.ts';
import type { ShareNotes } from '../nfs/share-notes.ts';
import { Listing } from './listing.ts';
import type { NfsShares } from './nfs-shares.ts';

/** Finds the cluster's volumes on the shares. */
export type NfsListing = Listing<MountedShare, ShareRecord>;

export const nfsListing = (shares: NfsShares, notes: ShareNotes): NfsListing =>
  new Listing(
    {
      kind: 'share',
      all: (c) => shares.all(c),
      open: (id, c) => shares.look(id, c),
      readAll: ({ files }, c) => readRecords(files, c),
      read: ({ files }, name, c) => readRecord(files, name, c),
      recordOf: (record) => record,
      // One that is not there is a server that may come back.
      isMissing: () => false,
      release: (id) => shares.release(id),
    },
    notes,
  );
