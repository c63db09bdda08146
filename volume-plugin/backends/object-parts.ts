import type { ShareNotes } from '../nfs/share-notes.ts';
import type { ObjectBuckets } from './object-buckets.ts';
import type { ObjectEngines } from './object-engines.ts';
import type { ObjectListing } from './object-listing.ts';
import type { Writers } from './writers.ts';

/** What the parts of the back-end for buckets have in common. */
export interface ObjectParts {
  readonly buckets: ObjectBuckets;
  readonly notes: ShareNotes;
  readonly listing: ObjectListing;
  readonly engines: ObjectEngines;
  readonly writers: Writers;
  /** This host: random and made once, and its name for people. */
  readonly host: { readonly id: string; readonly name: string };
  /** What `docker volume rm` does with the objects of a prefix that was empty and not named, of a volume which does not say. */
  readonly onRemove: 'delete' | 'retain';
}
