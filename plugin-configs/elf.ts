/**
 * Reads what the dynamic loader reads of an ELF file (64 bit, little endian), and drops what it does not.
 *
 * Layout: System V ABI, "Object files" and "Program loading and dynamic linking".
 */
import { open, readFile, writeFile } from 'node:fs/promises';

/** What a program or a library asks of the loader. */
export interface ElfNeeds {
  /** The loader's path (`/lib64/ld-linux-x86-64.so.2`), for programs only. */
  readonly interpreter?: string;
  /** Sonames of the libraries that must be found. */
  readonly needed: readonly string[];
}

interface Segment {
  readonly type: number;
  readonly offset: number;
  readonly address: number;
  readonly fileSize: number;
}

const PT_LOAD = 1;
const PT_DYNAMIC = 2;
const PT_INTERP = 3;
const DT_NULL = 0n;
const DT_NEEDED = 1n;
const DT_STRTAB = 5n;

/** True when the file begins as a 64-bit little-endian ELF file does. */
export async function isElf(path: string): Promise<boolean> {
  const file = await open(path);
  try {
    const head = Buffer.alloc(6);
    await file.read(head, 0, head.length, 0);
    return head.equals(Buffer.from([0x7f, 0x45, 0x4c, 0x46, 2, 1]));
  } finally {
    await file.close();
  }
}

/** The loader and the libraries that an ELF file names. Fails on a file that is none. */
export function elfNeeds(image: Buffer, name: string): ElfNeeds {
  const segments = programHeaders(image, name);
  const interp = segments.find((segment) => segment.type === PT_INTERP);
  const interpreter = interp && text(image, interp.offset);
  return { ...(interpreter === undefined ? {} : { interpreter }), needed: neededOf(image, segments) };
}

/**
 * Copies an ELF file without its symbol table, its debug data and its section headers. The kernel and the loader look
 * at program headers alone, so a binary of any machine can be stripped without that machine's binutils.
 */
export async function copyStripped(from: string, to: string, mode: number): Promise<void> {
  const image = await readFile(from);
  const end = Math.max(...programHeaders(image, from).map((segment) => segment.offset + segment.fileSize));
  image.writeBigUInt64LE(0n, 40); // e_shoff
  image.writeUInt16LE(0, 60); // e_shnum
  image.writeUInt16LE(0, 62); // e_shstrndx
  await writeFile(to, image.subarray(0, end), { mode });
}

function programHeaders(image: Buffer, name: string): Segment[] {
  if (image.length < 64 || image.readUInt32BE(0) !== 0x7f454c46 || image[4] !== 2 || image[5] !== 1) {
    throw new Error(`${name} is no 64-bit little-endian ELF file`);
  }
  const table = Number(image.readBigUInt64LE(32));
  const size = image.readUInt16LE(54);
  const count = image.readUInt16LE(56);
  return Array.from({ length: count }, (_, index) => {
    const at = table + index * size;
    return {
      type: image.readUInt32LE(at),
      offset: Number(image.readBigUInt64LE(at + 8)),
      address: Number(image.readBigUInt64LE(at + 16)),
      fileSize: Number(image.readBigUInt64LE(at + 32)),
    };
  });
}

function neededOf(image: Buffer, segments: readonly Segment[]): string[] {
  const dynamic = segments.find((segment) => segment.type === PT_DYNAMIC);
  if (!dynamic) return [];
  const names: number[] = [];
  let strings = 0;
  for (let at = dynamic.offset; at < dynamic.offset + dynamic.fileSize; at += 16) {
    const tag = image.readBigUInt64LE(at);
    const value = Number(image.readBigUInt64LE(at + 8));
    if (tag === DT_NULL) break;
    if (tag === DT_NEEDED) names.push(value);
    if (tag === DT_STRTAB) strings = value;
  }
  const base = segments.find(
    ({ type, address, fileSize }) => type === PT_LOAD && strings >= address && strings < address + fileSize,
  );
  if (!base) return [];
  return names.map((name) => text(image, strings - base.address + base.offset + name));
}

function text(image: Buffer, from: number): string {
  return image.toString('latin1', from, image.indexOf(0, from));
}
