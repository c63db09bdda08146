import type { ObjectFacts } from '../object/store.ts';
import { FolderReading } from './folder-reading.ts';
import { Handles } from './handles.ts';
import { Homes } from './homes.ts';
import { Listings } from './listings.ts';
import { Lookups } from './lookups.ts';
import type { Node } from './nodes.ts';
import { Notes } from './notes.ts';
import { Saver } from './saving.ts';
import type { Space } from './space.ts';
import { Storms } from './storms.ts';

/** The parts that requests are carried out with. */
export interface Parts {
  readonly space: Space;
  readonly handles: Handles;
  readonly listings: Listings;
  readonly lookups: Lookups;
  readonly notes: Notes;
  readonly saver: Saver;
  readonly homes: Homes;
  readonly reading: FolderReading;
  readonly storms: Storms;
}

export const makeParts = (space: Space, misplaced: (node: Node, facts: ObjectFacts) => void): Parts => {
  const handles = new Handles();
  const listings = new Listings(space);
  const lookups = new Lookups(space);
  const notes = new Notes(space);
  const saver = new Saver(space, lookups, notes);
  const homes = new Homes({ space, lookups, listings, notes, saver, misplaced });
  const reading = new FolderReading({ space, handles, listings, lookups, notes });
  const storms = new Storms({ space, listings, lookups, notes, reading });
  return { space, handles, listings, lookups, notes, saver, homes, reading, storms };
};
