/** Times and sizes as people write them. */

const UNITS: Readonly<Record<string, number>> = { d: 86_400_000, h: 3_600_000, m: 60_000, s: 1_000, ms: 1 };

/** `30s`, `5m`, `1h30m`, `250ms`, `2d` or `0` as milliseconds; undefined when it is none (a bare number has no unit). */
export const parseDuration = (text: string): number | undefined => {
  if (text === '0') return 0;
  if (!/^(\d{1,9}(\.\d{1,3})?(ms|[dhms]))+$/.test(text)) return undefined;
  const parts = [...text.matchAll(/([\d.]+)(ms|[dhms])/g)];
  return Math.round(parts.reduce((sum, [, amount, unit]) => sum + Number(amount) * (UNITS[unit ?? ''] ?? 0), 0));
};

/** Milliseconds as text that `parseDuration` reads back: `90000` is `1m30s`. */
export const formatDuration = (ms: number): string => {
  let rest = Math.round(ms);
  const parts: string[] = [];
  for (const [unit, length] of Object.entries(UNITS)) {
    if (rest >= length) parts.push(`${Math.floor(rest / length)}${unit}`);
    rest %= length;
  }
  return parts.join('') || '0';
};

const POWERS = ['', 'k', 'm', 'g', 't'];

/** `512`, `64k`, `10m`, `1.5g`, `2GiB` as bytes (1 k = 1024, as in docker run); undefined when it is none. */
export const parseSize = (text: string): number | undefined => {
  const [, amount, unit] = /^(\d{1,15}(?:\.\d{1,3})?)([kmgt]?)(?:i?b)?$/i.exec(text) ?? [];
  if (amount === undefined || unit === undefined) return undefined;
  const bytes = Number(amount) * 1024 ** POWERS.indexOf(unit.toLowerCase());
  return Number.isSafeInteger(bytes) ? bytes : undefined;
};

/** Bytes as text that `parseSize` reads back exactly: `1536` is `1536`, `65536` is `64k`. */
export const formatSize = (bytes: number): string => {
  let power = 0;
  let amount = bytes;
  while (amount >= 1024 && amount % 1024 === 0 && power < POWERS.length - 1) {
    amount /= 1024;
    power += 1;
  }
  return `${amount}${POWERS[power]}`;
};
