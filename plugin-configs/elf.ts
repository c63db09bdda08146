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
  /** Where its header is. */
  readonly header: number;
  readonly type: number;
  readonly offset: number;
  readonly address: number;
  readonly fileSize: number;
  readonly align: number;
}

/**
 * The kernel maps whole pages, of up to 64 KiB on ARM: a segment's address and its place in the file must be equal within
 * one. With smaller pages it maps what lies around in pieces of that size too, and more of it when they do not agree.
 */
const GRANULE = 0x10000;
const PT_NULL = 0;
const PT_LOAD = 1;
const PT_DYNAMIC = 2;
const PT_INTERP = 3;
const PT_GNU_EH_FRAME = 0x6474e550;
const UNWINDING: ReadonlySet<string> = new Set(['.eh_frame_hdr', '.eh_frame', '.gcc_except_table']);
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
  await writeFile(to, withoutSections(image).subarray(0, end), { mode });
}

/**
 * Copies a program likewise, and also without what unwinds its stack (one ninth of its code's size), and without the
 * holes by which a linker aligns segments in the file. For programs that catch no C++ exception, such as Node: one that
 * is thrown ends them at once in place of a few frames later, and a native backtrace of a crash is short. The segments
 * keep their addresses.
 */
export async function copySlim(from: string, to: string, mode: number): Promise<void> {
  const image = await readFile(from);
  const segments = programHeaders(image, from);
  const unwinding = segments.find(({ type }) => type === PT_GNU_EH_FRAME);
  const cut = unwinding !== undefined && endsSegment(image, segments, unwinding) ? unwinding.address : undefined;
  const loads: (Segment & { readonly to: number })[] = [];
  let end = 0;
  for (const segment of segments.filter(({ type }) => type === PT_LOAD)) {
    const fileSize = cut !== undefined && holds(segment, cut) ? cut - segment.address : segment.fileSize;
    const place = end + ((segment.address - end) & (GRANULE - 1));
    loads.push({ ...segment, fileSize, to: place });
    end = place + fileSize;
  }
  const slim = Buffer.alloc(end);
  for (const load of loads) image.copy(slim, load.to, load.offset, load.offset + load.fileSize);
  for (const segment of segments) {
    if (segment.type === PT_GNU_EH_FRAME && cut !== undefined) slim.writeUInt32LE(PT_NULL, segment.header);
    const load = loads.find((one) => holds(one, segment.address));
    if (load === undefined) continue;
    const place = load.to + segment.address - load.address;
    slim.writeBigUInt64LE(BigInt(place), segment.header + 8);
    if (segment.type !== PT_LOAD) continue;
    slim.writeBigUInt64LE(BigInt(load.fileSize), segment.header + 32);
    if (load.fileSize !== segment.fileSize) slim.writeBigUInt64LE(BigInt(load.fileSize), segment.header + 40);
    if ((segment.address - place) % segment.align !== 0) {
      slim.writeBigUInt64LE(BigInt(GRANULE), segment.header + 48);
    }
  }
  await writeFile(to, withoutSections(slim), { mode });
}

const holds = ({ address, fileSize }: Segment, place: number): boolean =>
  place >= address && place < address + fileSize;

/** True when nothing but what unwinds the stack lies from there to the end of its segment. */
function endsSegment(image: Buffer, segments: readonly Segment[], from: Segment): boolean {
  const load = segments.find((segment) => segment.type === PT_LOAD && holds(segment, from.address));
  if (load === undefined || load.offset === 0) return false;
  const inside = sections(image).filter(({ address }) => address >= from.address && holds(load, address));
  return inside.length > 0 && inside.every(({ name }) => UNWINDING.has(name));
}

/** Names and addresses of what is loaded. */
function sections(image: Buffer): { readonly name: string; readonly address: number }[] {
  const table = Number(image.readBigUInt64LE(40));
  const size = image.readUInt16LE(58);
  const count = image.readUInt16LE(60);
  const at = (index: number): number => table + index * size;
  const names = Number(image.readBigUInt64LE(at(image.readUInt16LE(62)) + 24));
  return Array.from({ length: count }, (_, index) => ({
    name: text(image, names + image.readUInt32LE(at(index))),
    address: Number(image.readBigUInt64LE(at(index) + 16)),
  })).filter(({ address }) => address > 0);
}

/** Forgets where the section headers are. */
function withoutSections(image: Buffer): Buffer {
  image.writeBigUInt64LE(0n, 40); // e_shoff
  image.writeUInt16LE(0, 60); // e_shnum
  image.writeUInt16LE(0, 62); // e_shstrndx
  return image;
}

function programHeaders(image: Buffer, name: string): Segment[] {
  if (image.length < 64 || image.readUInt32BE(0) !== 0x7f454c46 || image[4] !== 2 || image[5] !== 1) {
    throw new Error(`${name} is no 64-bit little-endian ELF file`);
  }
  const table = Number(image.readBigUInt64LE(32));
  const size = image.readUInt16LE(54);
  const count = image.readUInt16LE(56);
  return Array.from({ length: count }, (_, index) => {
    const header = table + index * size;
    return {
      header,
      type: image.readUInt32LE(header),
      offset: Number(image.readBigUInt64LE(header + 8)),
      address: Number(image.readBigUInt64LE(header + 16)),
      fileSize: Number(image.readBigUInt64LE(header + 32)),
      align: Number(image.readBigUInt64LE(header + 48)),
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
