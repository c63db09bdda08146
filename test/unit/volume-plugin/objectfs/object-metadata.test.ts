import t from 'tap';
import {
  metadataBytes,
  readMetadata,
  readMode,
  readTime,
  readXattrs,
  writeMetadata,
  writeTime,
  writeXattrs,
} from '../../../../volume-plugin/objectfs/object-metadata.ts';

t.test('modes of s3fs and rclone are told apart by what makes a valid one', async (t) => {
  const modes: Readonly<Record<string, number | undefined>> = {
    33188: 0o100644,
    33261: 0o100755,
    16877: 0o040755,
    41471: 0o120777,
    4516: 0o010644,
    '0100644': 0o100644,
    100644: 0o100644,
    '040755': 0o040755,
    40755: 0o040755,
    120777: 0o120777,
    644: 0o644,
    '0644': 0o644,
    755: 0o755,
    0: 0,
    '': undefined,
    abc: undefined,
    '-1': undefined,
    99999999: undefined,
    '0o644': undefined,
  };
  for (const [text, mode] of Object.entries(modes)) t.equal(readMode(text), mode, `"${text}"`);
});

t.test('every mode that is written is read again', async (t) => {
  for (const type of [0o010000, 0o020000, 0o040000, 0o060000, 0o100000, 0o120000, 0o140000]) {
    const wrong = [];
    for (let permissions = 0; permissions <= 0o7777; permissions += 1) {
      const mode = type | permissions;
      if (readMode(String(mode)) !== mode) wrong.push(mode.toString(8));
    }
    t.same(wrong, [], type.toString(8));
  }
});

t.test('the modes of files, folders and links that rclone writes are read', async (t) => {
  for (const type of [0o040000, 0o100000, 0o120000]) {
    const wrong = [];
    for (let permissions = 0; permissions <= 0o7777; permissions += 1) {
      const mode = type | permissions;
      if (readMode(`0${mode.toString(8)}`) !== mode) wrong.push(mode.toString(8));
    }
    t.same(wrong, [], type.toString(8));
  }
});

t.test('times are read in all forms, to the nanosecond, and written as s3fs does', async (t) => {
  t.equal(readTime('1700000000'), 1_700_000_000_000_000_000n);
  t.equal(readTime('1700000000.5'), 1_700_000_000_500_000_000n);
  t.equal(readTime('1700000000.123456789'), 1_700_000_000_123_456_789n);
  t.equal(readTime('1700000000.1234567891'), 1_700_000_000_123_456_789n);
  t.equal(readTime('-1.5'), -1_500_000_000n);
  t.equal(readTime('2023-11-14T22:13:20.123456789Z'), 1_700_000_000_123_456_789n);
  t.equal(readTime('2023-11-14T23:13:20+01:00'), 1_700_000_000_000_000_000n);
  t.equal(readTime('1969-12-31T23:59:59.5Z'), -500_000_000n);
  for (const text of ['', 'now', '2023-13-99T00:00:00Z', '1e9', '0x10']) t.equal(readTime(text), undefined, text);
  for (const ns of [0n, 1n, -1n, -1_500_000_000n, 1_700_000_000_123_456_789n, 4_102_444_800_000_000_000n]) {
    t.equal(readTime(writeTime(ns)), ns, String(ns));
  }
  t.equal(writeTime(1_700_000_000_000_000_001n), '1700000000.000000001');
});

t.test('what s3fs has written is read, and written as it was', async (t) => {
  const meta = {
    mode: '33204',
    uid: '1000',
    gid: '1000',
    mtime: '1700000000.000000000',
    atime: '1700000001.000000000',
    ctime: '1700000002.000000000',
    xattr: encodeURIComponent('{"user.color":"Ymx1ZQ=="}'),
  };
  const stated = readMetadata(meta);
  t.match(stated, { mode: 0o100664, uid: 1000, gid: 1000, mtime: 1_700_000_000_000_000_000n });
  t.equal(stated.xattrs?.get('user.color')?.toString(), 'blue');
  t.same(writeMetadata(stated), meta);
});

t.test('what rclone has written is read, and what is its own alone is kept', async (t) => {
  const stated = readMetadata({
    mode: '0100640',
    uid: '33',
    gid: '33',
    mtime: '2023-11-14T22:13:20.123456789Z',
    btime: '2023-11-14T22:13:19Z',
    rdev: '1f',
    'content-md5': 'x',
  });
  t.match(stated, { mode: 0o100640, uid: 33, mtime: 1_700_000_000_123_456_789n, rdev: 0x1f });
  t.same(stated.others, { btime: '2023-11-14T22:13:19Z', 'content-md5': 'x' });
  t.match(writeMetadata(stated), { mode: '33184', mtime: '1700000000.123456789', btime: '2023-11-14T22:13:19Z' });
});

t.test('metadata that say nonsense say nothing', async (t) => {
  t.same(
    readMetadata({ mode: 'rw-r--r--', uid: '-1', gid: '4294967295', mtime: 'yesterday', xattr: '%7Bnot json' }),
    {},
  );
  t.same(readMetadata({ xattr: '%', rdev: 'xyz' }), {});
  t.same(readMetadata({}), {});
});

t.test('extended attributes of any bytes and names come back', async (t) => {
  const xattrs = new Map([
    ['user.ü "quoted"', Buffer.from([0, 255, 10])],
    ['user.empty', Buffer.alloc(0)],
  ]);
  t.match(writeXattrs(xattrs), /^[\w%.!~*'()-]+$/, 'ASCII alone');
  t.same(readXattrs(writeXattrs(xattrs)), xattrs);
  t.equal(readXattrs('[]')?.size, 0);
  t.equal(readXattrs('1'), undefined);
  t.equal(metadataBytes({ ab: 'ü' }), 4);
});
