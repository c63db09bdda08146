import t from 'tap';
import { formatDuration, formatSize, parseDuration, parseSize } from '../../../shared/duration.ts';

t.test('durations are read and written', async (t) => {
  const cases = {
    '30s': 30_000,
    '5m': 300_000,
    '1h30m': 5_400_000,
    '250ms': 250,
    '2d': 172_800_000,
    '1.5s': 1_500,
    '0': 0,
  };
  for (const [text, ms] of Object.entries(cases)) t.equal(parseDuration(text), ms, text);
  for (const bad of ['', '30', 's', '-1s', '1 s', '1S', '1s2', '1e3s', '1..5s', '1y'])
    t.equal(parseDuration(bad), undefined, bad);
  for (const ms of [0, 1, 999, 1_000, 61_000, 90_061_001]) t.equal(parseDuration(formatDuration(ms)), ms, String(ms));
  t.equal(formatDuration(90_000), '1m30s');
});

t.test('sizes are read and written', async (t) => {
  const cases = {
    '512': 512,
    '64k': 65_536,
    '10M': 10_485_760,
    '1.5g': 1_610_612_736,
    '2GiB': 2_147_483_648,
    '1kb': 1024,
    '0': 0,
  };
  for (const [text, bytes] of Object.entries(cases)) t.equal(parseSize(text), bytes, text);
  for (const bad of ['', 'k', '-1', '1x', '1 k', '0.0001', '1.2345k']) t.equal(parseSize(bad), undefined, bad);
  for (const bytes of [0, 1, 1023, 1024, 1536, 65_536, 1_073_741_824]) t.equal(parseSize(formatSize(bytes)), bytes);
  t.equal(formatSize(65_536), '64k');
});
