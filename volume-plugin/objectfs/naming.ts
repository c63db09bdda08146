import { Errno } from '../fuse/file-system.ts';

/** What is ours in a volume's part of a bucket: hidden from those who use the volume. */
export const HIDDEN = '.drayage';
/** Linux' longest name, and the longest key that every vendor takes (OSS has one byte less than S3), in bytes of UTF-8. */
export const NAME_MAX = 255;
const KEY_MAX = 1023;

const longerThan = (text: string, bytes: number): boolean =>
  text.length > bytes || (text.length * 3 > bytes && Buffer.byteLength(text) > bytes);

/** Can a program ask for this name? Others have keys with `//`, or with a component that is `.` or `..`. */
export const isName = (name: string): boolean =>
  name !== '' && name !== '.' && name !== '..' && !name.includes('\0') && !longerThan(name, NAME_MAX);

/**
 * Where files of a volume are in its bucket. A path is that of a volume without a slash in front: `a/b/c`; the root's is
 * empty. A folder's key ends in a slash.
 */
export class Naming {
  readonly prefix: string;

  /** `prefix`: empty, or with a slash at its end. */
  constructor(prefix: string) {
    this.prefix = prefix;
  }

  /** Of a file. */
  key(path: string): string {
    return this.prefix + path;
  }

  /** What the keys below a folder begin with; of all but the root it is also the key of its marker. */
  folderKey(path: string): string {
    return path === '' ? this.prefix : `${this.prefix}${path}/`;
  }

  /** The object that has a folder's attributes. At a bucket's root there is no key for one: it is among what is hidden. */
  markerKey(path: string): string {
    return path === '' && this.prefix === '' ? `${HIDDEN}/` : this.folderKey(path);
  }

  /** Of what is ours: `hidden('renames/', id)`. */
  hidden(...parts: readonly string[]): string {
    return `${this.prefix}${HIDDEN}/${parts.join('')}`;
  }

  /** Is this name of a folder (by its path) ours? */
  isHidden(folder: string, name: string): boolean {
    return folder === '' && name === HIDDEN;
  }

  /** Refuses names that nothing can be made under: EILSEQ, EINVAL, ENAMETOOLONG, EPERM. */
  check(folder: string, name: string): void {
    if (!name.isWellFormed()) throw new Errno('EILSEQ', 'the name is not valid UTF-8');
    if (longerThan(name, NAME_MAX)) throw new Errno('ENAMETOOLONG');
    if (!isName(name) || name.includes('/')) throw new Errno('EINVAL', 'no name of a file');
    if (this.isHidden(folder, name)) throw new Errno('EPERM', `${HIDDEN} is the volume's own`);
    if (!this.fits(folder, name)) throw new Errno('ENAMETOOLONG', `keys have ${KEY_MAX} bytes at most`);
  }

  /** Is the key that it has, also as a folder, one that stores take? */
  fits(folder: string, name: string): boolean {
    return !longerThan(`${this.folderKey(folder)}${name}/`, KEY_MAX);
  }
}
