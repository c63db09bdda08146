import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { codeOf } from '../../shared/error-code.ts';
import { byteOrder } from './byte-order.ts';

/**
 * Where an object of a key is in a folder: each component of the key is a folder `name.d`, the last one a file `name.o`, so
 * that `a`, `a/` and `a/b` are beside each other. Names that are too long for one are cut: `beginning.c/rest.o`.
 */

const LONGEST_PIECE = 200;

const encode = (text: string): string => text.replaceAll('%', '%25').replaceAll('\0', '%00');
const decode = (text: string): string => text.replaceAll('%00', '\0').replaceAll('%25', '%');

/** Pieces of whole characters, each of at most `LONGEST_PIECE` bytes when encoded. */
const pieces = (component: string): string[] => {
  const found: string[] = [];
  let piece = '';
  let size = 0;
  for (const character of component) {
    const bytes = Buffer.byteLength(encode(character));
    if (size + bytes > LONGEST_PIECE) {
      found.push(encode(piece));
      piece = '';
      size = 0;
    }
    piece += character;
    size += bytes;
  }
  return [...found, encode(piece)];
};

const named = (component: string, ending: 'd' | 'o'): string[] => {
  const all = pieces(component);
  return all.map((piece, i) => `${piece}.${i === all.length - 1 ? ending : 'c'}`);
};

/** The folder that has what begins with `prefix`, which is empty or ends with `/`. */
export const folderOf = (root: string, prefix: string): string =>
  join(
    root,
    ...prefix
      .split('/')
      .slice(0, -1)
      .flatMap((component) => named(component, 'd')),
  );

export const fileOf = (root: string, key: string): string => {
  const slash = key.lastIndexOf('/') + 1;
  return join(folderOf(root, key.slice(0, slash)), ...named(key.slice(slash), 'o'));
};

interface Entry {
  /** Behind the folder's prefix; of a folder with `/` at its end. */
  readonly name: string;
  readonly folder: boolean;
  readonly path: string;
}

const entriesIn = async (folder: string, beginning = ''): Promise<Entry[]> => {
  let names: string[];
  try {
    names = await readdir(folder);
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return [];
    throw error;
  }
  const found: Entry[] = [];
  for (const name of names) {
    const [text, path] = [`${beginning}${decode(name.slice(0, -2))}`, join(folder, name)];
    if (name.endsWith('.c')) found.push(...(await entriesIn(path, text)));
    else if (name.endsWith('.d')) found.push({ name: `${text}/`, folder: true, path });
    else if (name.endsWith('.o')) found.push({ name: text, folder: false, path });
  }
  return found;
};

export interface Found {
  /** A key, or a prefix that ends with the delimiter. */
  readonly name: string;
  /** Of an object. */
  readonly path?: string;
}

export interface Search {
  readonly prefix: string;
  readonly delimited: boolean;
  /** Keys behind this one only. */
  readonly after: string;
  /** Prefixes, and keys that do not begin with it, behind this one only. */
  readonly afterPrefix: string;
}

/** Keys and prefixes in byte order. Folders without objects are none. */
export async function* walk(root: string, search: Search): AsyncGenerator<Found> {
  const above = search.prefix.slice(0, search.prefix.lastIndexOf('/') + 1);
  yield* walkBelow(folderOf(root, above), above, search);
}

async function* walkBelow(folder: string, above: string, search: Search): AsyncGenerator<Found> {
  const { prefix, delimited, after, afterPrefix } = search;
  const entries = (await entriesIn(folder)).sort((a, b) => byteOrder(a.name, b.name));
  for (const { name, folder: isFolder, path } of entries) {
    const whole = `${above}${name}`;
    if (!whole.startsWith(prefix) && !(isFolder && prefix.startsWith(whole))) continue;
    if (afterPrefix !== '' && (byteOrder(whole, afterPrefix) <= 0 || whole.startsWith(afterPrefix))) continue;
    if (!isFolder) {
      if (byteOrder(whole, after) > 0) yield { name: whole, path };
      continue;
    }
    if (byteOrder(whole, after) < 0 && !after.startsWith(whole)) continue;
    const below = walkBelow(path, whole, search);
    if (!delimited || whole.length <= prefix.length) yield* below;
    else if (!(await below.next()).done) yield { name: whole };
  }
}
