import { randomUUID } from 'node:crypto';
import { closeSync, fsyncSync, openSync, truncateSync, writeSync } from 'node:fs';
import { crc32 } from 'node:zlib';
import t, { type Test } from 'tap';
import { cancellable } from '../../../../shared/context.ts';
import { isZero, probe } from '../../../../shared/kernel/block-device.ts';
import { FILESYSTEMS } from '../../../../volume-plugin/block/filesystem.ts';
import { ensureFilesystem, type FormatRequest } from '../../../../volume-plugin/block/format.ts';
import type { Disk } from '../../../../volume-plugin/block/provider.ts';
import { checksum, context, loopDisk, MIB, messageOf, run, scratch } from './scratch.ts';

t.setTimeout(120_000);

interface Given {
  readonly tags?: Readonly<Record<string, string>>;
  readonly fromSnapshot?: string;
  readonly wanted?: FormatRequest['wanted'];
  /** Bytes that the provider says. */
  readonly says?: number;
  readonly size?: number;
  /** Options of losetup. */
  readonly options?: readonly string[];
  /** What is done with the disk before. */
  readonly before?: (device: string, file: string) => void;
}

const prepare = (t: Test, { tags = {}, fromSnapshot, wanted, says, size, options = [], before }: Given) => {
  const made = loopDisk(scratch(t), size);
  before?.(made.device, made.file);
  let { device } = made;
  if (options.length > 0) {
    run('losetup', '--detach', device);
    device = run('losetup', '--find', '--show', ...options, made.file).trim();
  }
  const disk: Disk = {
    ...{
      id: 'disk-1',
      volume: 'data',
      size: says ?? made.size,
      state: 'attached',
      serial: 'disk-1',
      tags,
      created: '',
    },
    ...(fromSnapshot !== undefined && { fromSnapshot }),
  };
  const told: Record<string, string> = {};
  const request: FormatRequest = {
    ...{ disk, device, wanted, uuid: randomUUID() },
    tag: async (news) => {
      Object.assign(told, news);
    },
    hasFiles: async () => false,
  };
  return { request, told, device, file: made.file };
};

/** Asks for a refusal, and that it has left every byte and every tag. */
const refused = async (t: Test, given: Given, reason: RegExp): Promise<void> => {
  const { request, told, file } = prepare(t, given);
  const before = checksum(file);
  t.match(await messageOf(ensureFilesystem(request, context())), reason);
  t.equal(checksum(file), before, 'no byte was changed');
  t.same(told, {}, 'no tag was written');
};

/** Writes bytes onto a disk; a negative place counts from its end. */
const put =
  (bytes: string | Uint8Array, place: number, size = 16 * MIB) =>
  (device: string): void => {
    const opened = openSync(device, 'r+');
    const buffer = Buffer.from(bytes);
    writeSync(opened, buffer, 0, buffer.length, place < 0 ? size + place : place);
    fsyncSync(opened);
    closeSync(opened);
  };

const mkfs =
  (kind: 'ext4' | 'xfs' | 'btrfs', uuid = randomUUID()) =>
  (device: string): void => {
    const name =
      kind === 'xfs' ? ['-f', '-m', `uuid=${uuid}`] : kind === 'ext4' ? ['-F', '-U', uuid] : ['-f', '-U', uuid];
    run(`mkfs.${kind}`, '-q', ...name, device);
  };

t.test('a blank disk gets the file system that was asked for, with the intent written down first', async (t) => {
  for (const kind of FILESYSTEMS) {
    const { request, told, device } = prepare(t, { wanted: kind, size: 320 * MIB });
    t.equal(await ensureFilesystem(request, context()), kind);
    t.match(await probe(device, context()), { type: kind, uuid: request.uuid });
    t.same(Object.entries(told), [
      ['formatting', request.uuid],
      ['formatted', kind],
    ]);
  }
});

t.test('a disk of another size than the provider says is refused', (t) =>
  refused(t, { says: 17 * MIB }, /^FORMAT_REFUSED: Disk disk-1 of volume data .* the device has 16777216 bytes, but/),
);

t.test('data at the head that nothing knows is refused', (t) =>
  refused(
    t,
    { before: put('x', 4 * MIB - 1) },
    /FORMAT_REFUSED: .* it has data at its beginning that nothing here knows/,
  ),
);

t.test('data at the very first byte is refused', (t) => refused(t, { before: put('x', 0) }, /data at its beginning/));

t.test('data at the tail that nothing knows is refused', async (t) => {
  for (const place of [-1, -MIB]) await refused(t, { before: put('x', place) }, /it has data at its end that nothing/);
});

t.test('a file system that Drayage did not make is refused', async (t) => {
  for (const kind of FILESYSTEMS) {
    await refused(
      t,
      { wanted: kind, size: 320 * MIB, before: mkfs(kind) },
      new RegExp(`it has ${kind} on it that Drayage did not make; import it`),
    );
  }
});

t.test('contents that are no file system of ours are refused', async (t) => {
  const swap = (device: string) => run('mkswap', device);
  await refused(t, { before: swap }, /FORMAT_REFUSED: .* it has swap on it/);
  await refused(t, { before: swap, tags: { formatting: randomUUID() } }, /it has swap on it/);
});

/** A table of partitions without a partition. */
const emptyTable = (label: 'gpt' | 'dos'): Buffer => {
  const head = Buffer.alloc(34 * 512);
  const last = (16 * MIB) / 512 - 1;
  head.writeUInt16LE(0xaa55, 510);
  if (label === 'dos') {
    head.set([0x83, 0, 0, 0, 0, 8, 0, 0, 0, 8, 0, 0], 450);
    return head;
  }
  head.set([0xee, 0xff, 0xff, 0xff, 1, 0, 0, 0], 450);
  head.writeUInt32LE(last, 458);
  const header = head.subarray(512, 512 + 92);
  header.write('EFI PART\0\0\x01\0', 'latin1');
  header.writeUInt32LE(92, 12);
  for (const [place, value] of [
    [24, 1],
    [32, last],
    [40, 34],
    [48, last - 33],
    [72, 2],
  ] as const)
    header.writeBigUInt64LE(BigInt(value), place);
  header.fill(7, 56, 72);
  header.writeUInt32LE(128, 80);
  header.writeUInt32LE(128, 84);
  header.writeUInt32LE(crc32(head.subarray(1024)), 88);
  header.writeUInt32LE(crc32(header), 16);
  return head;
};

t.test('a partition table is refused, however empty', async (t) => {
  for (const label of ['gpt', 'dos'] as const) {
    const reason = new RegExp(`it has a partition table \\(${label}\\)`);
    await refused(t, { before: put(emptyTable(label), 0) }, reason);
  }
});

t.test('signs of several contents are refused', (t) =>
  refused(
    t,
    {
      size: 320 * MIB,
      before: (device) => {
        const both = loopDisk(scratch(t), 320 * MIB);
        mkfs('btrfs')(device);
        mkfs('ext4')(both.device);
        // The magic number of ext4 where btrfs has none.
        run(
          'dd',
          `if=${both.device}`,
          `of=${device}`,
          'bs=1024',
          'skip=1',
          'seek=1',
          'count=1',
          'conv=notrunc,fsync',
          'status=none',
        );
      },
    },
    /it has signs of several contents/,
  ),
);

t.test('a disk that cannot be read is not taken for blank, at its head or at its tail', async (t) => {
  const shorten = (size: number) => (_: string, file: string) => truncateSync(file, size);
  await refused(t, { before: shorten(0) }, /FORMAT_REFUSED: .* it cannot be read/);
  await refused(t, { before: shorten(MIB) }, /it cannot be read/);
  await refused(t, { before: shorten(8 * MIB) }, /it cannot be read/);
  await refused(t, { before: shorten(MIB), tags: { formatting: randomUUID() } }, /it cannot be read/);
});

t.test('a read-only disk is refused, blank or not', async (t) => {
  await refused(t, { options: ['--read-only'] }, /FORMAT_REFUSED: .* it can only be read/);
  await refused(
    t,
    { options: ['--read-only'], tags: { formatted: 'ext4' }, before: mkfs('ext4') },
    /^DISK_FAILED: Disk disk-1 of volume data is read-only/,
  );
});

t.test('a disk from a snapshot that looks blank is refused', (t) =>
  refused(
    t,
    { fromSnapshot: 'snap-1', tags: { formatting: randomUUID() } },
    /it was made from snap-1, but nothing is found/,
  ),
);

t.test('a disk that was formatted before and looks blank is refused', (t) =>
  refused(t, { tags: { formatted: 'xfs' } }, /it was formatted with xfs before, and nothing is found there now/),
);

t.test('another file system than was asked for, or than was made, is refused', async (t) => {
  const tags = { formatted: 'ext4' };
  await refused(t, { wanted: 'xfs', tags, before: mkfs('ext4') }, /it has ext4 on it, and xfs was asked for/);
  await refused(
    t,
    { tags, size: 320 * MIB, before: mkfs('xfs') },
    /it has xfs on it, and was formatted with ext4 before/,
  );
});

t.test('a disk that the file system does not fit on is refused before anything is written', (t) =>
  refused(t, { wanted: 'xfs' }, /xfs needs at least 314572800 bytes/),
);

t.test('an intent of ours does not cover what somebody else has made', (t) =>
  refused(
    t,
    { tags: { formatting: randomUUID() }, before: mkfs('ext4') },
    /it has ext4 on it that Drayage did not make/,
  ),
);

t.test('what was formatted, imported or copied is taken as it is', async (t) => {
  for (const [given, told] of [
    [{ tags: { formatted: 'ext4' } }, {}],
    [{ tags: { imported: 'yes' } }, { formatted: 'ext4' }],
    [{ fromSnapshot: 'snap-1', tags: { formatting: 'x' } }, { formatted: 'ext4' }],
  ] as const) {
    const made = prepare(t, { ...given, before: mkfs('ext4') });
    const before = checksum(made.file);
    t.equal(await ensureFilesystem(made.request, context()), 'ext4');
    t.same(made.told, told);
    t.equal(checksum(made.file), before);
  }
});

t.test('what users have written into their file system cannot make it look like something else', async (t) => {
  const made = prepare(t, { tags: { formatted: 'ext4' }, before: mkfs('ext4') });
  // What a member of a RAID has there (md_p.h): magic number and version, in a block that a file can have.
  put(Buffer.from('fc4e2ba9000000005a00000000000000', 'hex'), -65_536)(made.device);
  t.match(await probe(made.device, context()), { type: 'linux_raid_member' });
  t.equal(await ensureFilesystem(made.request, context()), 'ext4');
});

t.test('a crash during formatting is made good: whole, half made, or hardly begun', async (t) => {
  const uuid = randomUUID();
  const states: Record<string, (device: string, file: string) => void> = {
    'nothing yet': () => undefined,
    'whole, and not written down': mkfs('ext4', uuid),
    'without its head': (device) => {
      mkfs('ext4', uuid)(device);
      put('\0'.repeat(64 * 1024), 0)(device);
      put('remains', 30_000)(device);
    },
  };
  for (const [name, before] of Object.entries(states)) {
    const { request, told, device } = prepare(t, { tags: { formatting: uuid }, before });
    t.equal(await ensureFilesystem({ ...request, uuid }, context()), 'ext4', name);
    t.same(told, { formatted: 'ext4' });
    t.match(await probe(device, context()), { type: 'ext4', uuid });
    run('e2fsck', '-fn', device);
  }
});

t.test('what somebody has written to is taken as it is though the tag that says so does not show', async (t) => {
  const uuid = randomUUID();
  const { request, told, file } = prepare(t, { tags: { formatting: uuid }, before: mkfs('ext4', uuid) });
  const before = checksum(file);
  t.equal(await ensureFilesystem({ ...request, uuid, hasFiles: async () => true }, context()), 'ext4');
  t.same(told, { formatted: 'ext4' });
  t.equal(checksum(file), before);
});

t.test('formatting that is killed at any moment succeeds the next time', async (t) => {
  for (const kind of FILESYSTEMS) {
    for (const ms of [0, 4, 12]) {
      const { request, told, device } = prepare(t, { wanted: kind, size: kind === 'xfs' ? 300 * MIB : 128 * MIB });
      const { context: c, cancel } = cancellable(context());
      const { tag } = request;
      const killed = {
        ...request,
        tag: async (news: Readonly<Record<string, string>>) => {
          await tag(news);
          if ('formatting' in news) setTimeout(() => cancel(new Error('killed')), ms);
        },
      };
      await ensureFilesystem(killed, c).catch(() => undefined);
      const disk = { ...request.disk, tags: { ...told } };
      t.equal(await ensureFilesystem({ ...request, disk }, context()), kind, `${kind} after ${ms} ms`);
      t.match(await probe(device, context()), { type: kind, uuid: request.uuid });
    }
  }
});

t.test('bytes that are not zero are found wherever they are', async (t) => {
  const { device, size } = loopDisk(scratch(t), 16 * MIB);
  t.ok(await isZero(device, 0, size, context()));
  put('x', 5 * MIB)(device);
  t.notOk(await isZero(device, 0, size, context()));
  t.ok(await isZero(device, 0, 5 * MIB, context()));
  t.notOk(await isZero(device, 5 * MIB, 1, context()));
  t.ok(await isZero(device, 5 * MIB + 1, 11 * MIB - 1, context()));
});
