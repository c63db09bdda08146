import type { Attributes } from '../fuse/file-system.ts';
import type { ObjectDetails } from '../object/store.ts';
import type { Description } from './content.ts';
import { contentTypeOf, FOLDER_TYPE } from './media-types.ts';
import { EXACT, type Facts, type More, type Node } from './nodes.ts';
import {
  readMetadata,
  S_IFBLK,
  S_IFCHR,
  S_IFDIR,
  S_IFMT,
  S_IFREG,
  type Stated,
  writeMetadata,
} from './object-metadata.ts';

/** What objects have that do not say. */
export interface Defaults {
  readonly uid: number;
  readonly gid: number;
  /** Without a type. */
  readonly fileMode: number;
  readonly dirMode: number;
}

const NS_PER_MS = 1_000_000n;
const BLANK: Readonly<Record<string, never>> = {};

export const factsOf = ({ etag, size, modified }: Facts): Facts => ({ etag, size, modified });

/** The type and permissions of an object: only a key with a slash at its end is a folder, whatever is said in it. */
export const modeOf = (stated: Stated, isFolder: boolean, defaults: Defaults): number => {
  if (isFolder) return S_IFDIR | ((stated.mode ?? defaults.dirMode) & 0o7777);
  const type = (stated.mode ?? 0) & S_IFMT;
  const permissions = (stated.mode ?? defaults.fileMode) & 0o7777;
  return (type === 0 || type === S_IFDIR ? S_IFREG : type) | permissions;
};

/** Gives a node what its object's metadata say. */
export const applyStated = (node: Node, stated: Stated, contentType: string | undefined, defaults: Defaults): void => {
  node.mode = modeOf(stated, node.isFolder, defaults);
  node.uid = stated.uid ?? defaults.uid;
  node.gid = stated.gid ?? defaults.gid;
  node.rdev = stated.rdev ?? 0;
  node.times = timesOf(stated);
  node.more = moreOf(stated, contentType, node);
};

const timesOf = ({ mtime, atime, ctime }: Stated): Node['times'] =>
  mtime === undefined && atime === undefined && ctime === undefined
    ? undefined
    : {
        ...(mtime !== undefined && { mtime }),
        ...(atime !== undefined && { atime }),
        ...(ctime !== undefined && { ctime }),
      };

const moreOf = ({ xattrs, others }: Stated, contentType: string | undefined, node: Node): More | undefined => {
  const isOwnType = contentType !== undefined && contentType !== usualType(node);
  if (xattrs === undefined && others === undefined && !isOwnType) return undefined;
  return {
    ...(xattrs !== undefined && { xattrs }),
    ...(others !== undefined && { others }),
    ...(isOwnType && { contentType }),
  };
};

const usualType = (node: Node): string => (node.isFolder ? FOLDER_TYPE : contentTypeOf(node.name));

/** Gives a node all that a HEAD or GET has told. What was changed here and is not in the store yet stays. */
export const applyDetails = (node: Node, details: ObjectDetails, defaults: Defaults): void => {
  node.facts = factsOf(details);
  if (!node.isChanged) applyStated(node, readMetadata(details.meta), details.contentType, defaults);
  node.known = EXACT;
};

export const statedOf = (node: Node): Stated => ({
  mode: node.mode,
  uid: node.uid,
  gid: node.gid,
  ...node.times,
  ...(node.rdev !== 0 && { rdev: node.rdev }),
  ...(node.more?.xattrs !== undefined && { xattrs: node.more.xattrs }),
  ...(node.more?.others !== undefined && { others: node.more.others }),
});

/** What is stored with a node's object. */
export const describe = (node: Node): Description => ({
  meta: writeMetadata(statedOf(node)),
  contentType: node.more?.contentType ?? usualType(node),
});

export const sameDescription = (a: Description, b: Description): boolean =>
  a.contentType === b.contentType && sameTexts(a.meta, b.meta);

const sameTexts = (
  a: Readonly<Record<string, string>> = BLANK,
  b: Readonly<Record<string, string>> = BLANK,
): boolean => {
  const names = Object.keys(a);
  return names.length === Object.keys(b).length && names.every((name) => a[name] === b[name]);
};

/** `size`: of its content where it is open; `begun`: nanoseconds, the time of folders that have none. */
export const attributesOf = (node: Node, size: number | undefined, begun: bigint): Attributes => {
  const stored = node.facts === undefined ? begun : BigInt(Math.trunc(node.facts.modified)) * NS_PER_MS;
  const mtime = node.times?.mtime ?? stored;
  const type = node.mode & S_IFMT;
  const isFolder = type === S_IFDIR;
  return {
    node: node.id,
    size: isFolder ? 0 : (size ?? node.facts?.size ?? 0),
    mtime,
    ctime: node.times?.ctime ?? mtime,
    atime: node.times?.atime ?? mtime,
    mode: node.mode,
    nlink: node.unlinked ? 0 : isFolder ? 2 : 1,
    uid: node.uid,
    gid: node.gid,
    rdev: type === S_IFCHR || type === S_IFBLK ? node.rdev : 0,
  };
};
