import type { ShareMounts } from '../nfs/mounted-share.ts';
import type { ShareNotes } from '../nfs/share-notes.ts';
import type { ShareProvider } from '../nfs/share-provider.ts';
import type { NfsListing } from './nfs-listing.ts';
import type { NfsShares } from './nfs-shares.ts';
import type { Writers } from './writers.ts';

/** What the parts of the back-end for shares have in common. */
export interface NfsParts {
  readonly provider: ShareProvider;
  readonly mounts: ShareMounts;
  readonly notes: ShareNotes;
  readonly shares: NfsShares;
  readonly listing: NfsListing;
  readonly writers: Writers;
  /** This host: random and made once, and its name for people. */
  readonly host: { readonly id: string; readonly name: string };
  /** What `docker volume rm` does with a folder that was made for a volume which does not say. */
  readonly onRemove: 'delete' | 'retain';
}
